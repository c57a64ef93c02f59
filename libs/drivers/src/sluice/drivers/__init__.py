"""The only code that touches a switch, the kernel or an inspection engine."""
