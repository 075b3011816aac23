bt/obj/overlay/signature.o: userspace/overlay/signature.c \
 userspace/overlay/signature.h userspace/overlay/certificate.h \
 userspace/base/cleanup.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/config.h userspace/base/address.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/overlay/digest.h
userspace/overlay/signature.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/config.h:
userspace/base/address.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/overlay/digest.h:
