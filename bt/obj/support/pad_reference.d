bt/obj/support/pad_reference.o: tests/support/pad_reference.c \
 tests/support/pad_reference.h userspace/fastpath/pad_maker.h \
 userspace/base/cleanup.h userspace/base/octets.h
tests/support/pad_reference.h:
userspace/fastpath/pad_maker.h:
userspace/base/cleanup.h:
userspace/base/octets.h:
