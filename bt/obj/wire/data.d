bt/obj/wire/data.o: userspace/wire/data.c userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/wire/codes.h userspace/wire/list.h
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/codes.h:
userspace/wire/list.h:
