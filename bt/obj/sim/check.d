bt/obj/sim/check.o: userspace/sim/check.c userspace/sim/world.h \
 userspace/sim/identity.h userspace/overlay/document.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/base/id.h userspace/base/octets.h userspace/overlay/config.h \
 userspace/base/address.h userspace/overlay/kind.h userspace/wire/codes.h \
 userspace/overlay/signature.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/sim/virtual.h userspace/base/runtime.h \
 userspace/link/transport.h userspace/storage/store.h \
 userspace/topology/topology.h userspace/forward/router.h \
 userspace/storage/database.h
userspace/sim/world.h:
userspace/sim/identity.h:
userspace/overlay/document.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/config.h:
userspace/base/address.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/overlay/signature.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/sim/virtual.h:
userspace/base/runtime.h:
userspace/link/transport.h:
userspace/storage/store.h:
userspace/topology/topology.h:
userspace/forward/router.h:
userspace/storage/database.h:
