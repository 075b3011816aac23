bt/obj/overlay/kind.o: userspace/overlay/kind.c userspace/overlay/kind.h \
 userspace/base/octets.h userspace/wire/codes.h userspace/base/cleanup.h
userspace/overlay/kind.h:
userspace/base/octets.h:
userspace/wire/codes.h:
userspace/base/cleanup.h:
