bt/obj/storage/store_request.o: userspace/storage/store_request.c \
 userspace/storage/store_internal.h userspace/base/cleanup.h \
 userspace/storage/access.h userspace/overlay/certificate.h \
 userspace/base/id.h userspace/base/octets.h userspace/overlay/config.h \
 userspace/base/address.h userspace/overlay/kind.h userspace/wire/codes.h \
 userspace/wire/data.h userspace/wire/message.h \
 userspace/wire/destination.h userspace/storage/database.h \
 userspace/storage/store.h userspace/topology/topology.h \
 userspace/forward/router.h userspace/base/runtime.h \
 userspace/link/transport.h userspace/overlay/signature.h
userspace/storage/store_internal.h:
userspace/base/cleanup.h:
userspace/storage/access.h:
userspace/overlay/certificate.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/config.h:
userspace/base/address.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/storage/database.h:
userspace/storage/store.h:
userspace/topology/topology.h:
userspace/forward/router.h:
userspace/base/runtime.h:
userspace/link/transport.h:
userspace/overlay/signature.h:
