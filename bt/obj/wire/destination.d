bt/obj/wire/destination.o: userspace/wire/destination.c \
 userspace/wire/destination.h userspace/base/address.h \
 userspace/base/id.h userspace/base/octets.h userspace/wire/codes.h \
 userspace/wire/list.h
userspace/wire/destination.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/codes.h:
userspace/wire/list.h:
