bt/obj/wire/error.o: userspace/wire/error.c userspace/wire/list.h \
 userspace/base/id.h userspace/base/octets.h userspace/wire/message.h \
 userspace/wire/destination.h userspace/base/address.h \
 userspace/wire/codes.h
userspace/wire/list.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/wire/codes.h:
