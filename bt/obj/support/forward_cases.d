bt/obj/support/forward_cases.o: tests/support/forward_cases.c \
 tests/support/forward_cases.h bpf/layout.h userspace/wire/codes.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h
tests/support/forward_cases.h:
bpf/layout.h:
userspace/wire/codes.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
