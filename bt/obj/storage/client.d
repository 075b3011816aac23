bt/obj/storage/client.o: userspace/storage/client.c \
 userspace/storage/client.h userspace/storage/store.h \
 userspace/topology/topology.h userspace/forward/router.h \
 userspace/base/runtime.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h
userspace/storage/client.h:
userspace/storage/store.h:
userspace/topology/topology.h:
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
