bt/obj/wire/method.o: userspace/wire/method.c userspace/wire/method.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/wire/codes.h userspace/wire/list.h
userspace/wire/method.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/codes.h:
userspace/wire/list.h:
