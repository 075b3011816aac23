bt/obj/storage/kind_update.o: userspace/storage/kind_update.c \
 userspace/storage/kind_update.h userspace/forward/router.h \
 userspace/base/runtime.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/base/log.h userspace/wire/method.h
userspace/storage/kind_update.h:
userspace/forward/router.h:
userspace/base/runtime.h:
userspace/link/transport.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/overlay/signature.h:
userspace/overlay/config.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/base/log.h:
userspace/wire/method.h:
