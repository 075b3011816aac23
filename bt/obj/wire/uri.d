bt/obj/wire/uri.o: userspace/wire/uri.c userspace/wire/uri.h \
 userspace/base/octets.h userspace/base/limits.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/base/address.h userspace/base/id.h userspace/wire/codes.h \
 userspace/wire/list.h
userspace/wire/uri.h:
userspace/base/octets.h:
userspace/base/limits.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/wire/codes.h:
userspace/wire/list.h:
