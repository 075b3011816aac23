bt/obj/link/cookie.o: userspace/link/cookie.c userspace/link/cookie.h \
 userspace/base/address.h userspace/base/runtime.h \
 userspace/link/record.h userspace/base/cleanup.h userspace/base/octets.h \
 bpf/fastpath.h bpf/layout.h
userspace/link/cookie.h:
userspace/base/address.h:
userspace/base/runtime.h:
userspace/link/record.h:
userspace/base/cleanup.h:
userspace/base/octets.h:
bpf/fastpath.h:
bpf/layout.h:
