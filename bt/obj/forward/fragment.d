bt/obj/forward/fragment.o: userspace/forward/fragment.c \
 userspace/forward/fragment.h userspace/base/octets.h \
 userspace/base/runtime.h bpf/layout.h userspace/wire/message.h \
 userspace/wire/destination.h userspace/base/address.h \
 userspace/base/id.h userspace/wire/codes.h
userspace/forward/fragment.h:
userspace/base/octets.h:
userspace/base/runtime.h:
bpf/layout.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/wire/codes.h:
