"""Another kernel on this machine: a guest that shares this machine's files and runs our functions.

The kernels of developers and of CI runners have no flower classifier and no connection tracking for TC, and nothing
can load them there. Debian's packaged kernels have both. A guest boots one in seconds and sees the same file system,
read only, so that the same interpreter and the same code run inside and outside.

Two kinds, each where it is right. QEMU without acceleration knows all that the kernel knows and is some twenty times
slower. User-mode Linux runs at nearly native speed and was built without conntrack zones.
"""
