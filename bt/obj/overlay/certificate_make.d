bt/obj/overlay/certificate_make.o: userspace/overlay/certificate_make.c \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/base/id.h userspace/base/octets.h userspace/wire/destination.h \
 userspace/base/address.h userspace/wire/codes.h userspace/wire/uri.h
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/wire/destination.h:
userspace/base/address.h:
userspace/wire/codes.h:
userspace/wire/uri.h:
