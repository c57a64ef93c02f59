"""Another kernel on this machine: a guest that shares this machine's files and runs our functions.

The kernels of developers' machines and CI runners lack the flower classifier and connection tracking for TC, and cannot
load them. Debian's packaged kernels have both. A guest boots one in seconds and sees the same file system, read-only,
so that the same interpreter and code run inside and outside.

There are two kinds. QEMU without acceleration supports everything that the kernel does, but is some twenty times
slower. User-mode Linux runs at nearly native speed, but was built without conntrack zones.
"""
