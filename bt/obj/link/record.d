bt/obj/link/record.o: userspace/link/record.c userspace/link/record.h \
 userspace/base/cleanup.h userspace/base/octets.h bpf/fastpath.h \
 bpf/layout.h bpf/link_state.h
userspace/link/record.h:
userspace/base/cleanup.h:
userspace/base/octets.h:
bpf/fastpath.h:
bpf/layout.h:
bpf/link_state.h:
