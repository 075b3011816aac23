bt/obj/topology/chord_client.o: userspace/topology/chord_client.c \
 userspace/topology/chord.h userspace/base/log.h \
 userspace/topology/chord_table.h userspace/base/id.h \
 userspace/base/octets.h userspace/topology/topology.h \
 userspace/forward/router.h userspace/base/runtime.h \
 userspace/link/transport.h userspace/base/address.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/wire/method.h
userspace/topology/chord.h:
userspace/base/log.h:
userspace/topology/chord_table.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/topology/topology.h:
userspace/forward/router.h:
userspace/base/runtime.h:
userspace/link/transport.h:
userspace/base/address.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/overlay/signature.h:
userspace/overlay/config.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/wire/method.h:
