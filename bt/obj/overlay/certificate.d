bt/obj/overlay/certificate.o: userspace/overlay/certificate.c \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/base/id.h userspace/base/octets.h userspace/overlay/digest.h \
 userspace/wire/destination.h userspace/base/address.h \
 userspace/wire/codes.h userspace/wire/uri.h
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/digest.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/wire/codes.h:
userspace/wire/uri.h:
