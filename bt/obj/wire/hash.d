bt/obj/wire/hash.o: userspace/wire/hash.c userspace/wire/message.h \
 userspace/wire/destination.h userspace/base/address.h \
 userspace/base/id.h userspace/base/octets.h userspace/wire/codes.h
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/codes.h:
