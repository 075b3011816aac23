bt/obj/support/support_ring.o: tests/support/support_ring.c \
 tests/support/support_ring.h userspace/sim/virtual.h \
 userspace/base/runtime.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 tests/support/support_identity.h userspace/overlay/document.h \
 userspace/overlay/config.h userspace/overlay/kind.h \
 userspace/wire/codes.h userspace/overlay/signature.h \
 userspace/wire/data.h userspace/wire/message.h \
 userspace/wire/destination.h userspace/topology/topology.h \
 userspace/forward/router.h
tests/support/support_ring.h:
userspace/sim/virtual.h:
userspace/base/runtime.h:
userspace/link/transport.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
tests/support/support_identity.h:
userspace/overlay/document.h:
userspace/overlay/config.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/overlay/signature.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/topology/topology.h:
userspace/forward/router.h:
