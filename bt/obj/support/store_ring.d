bt/obj/support/store_ring.o: tests/support/store_ring.c \
 tests/support/store_ring.h userspace/storage/store.h \
 userspace/topology/topology.h userspace/forward/router.h \
 userspace/base/runtime.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 tests/support/support_ring.h userspace/sim/virtual.h \
 tests/support/support_identity.h userspace/overlay/document.h \
 userspace/storage/access.h userspace/storage/database.h
tests/support/store_ring.h:
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
tests/support/support_ring.h:
userspace/sim/virtual.h:
tests/support/support_identity.h:
userspace/overlay/document.h:
userspace/storage/access.h:
userspace/storage/database.h:
