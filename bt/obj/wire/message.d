bt/obj/wire/message.o: userspace/wire/message.c userspace/wire/message.h \
 userspace/wire/destination.h userspace/base/address.h \
 userspace/base/id.h userspace/base/octets.h userspace/wire/codes.h \
 userspace/base/limits.h userspace/wire/list.h
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/codes.h:
userspace/base/limits.h:
userspace/wire/list.h:
