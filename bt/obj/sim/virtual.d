bt/obj/sim/virtual.o: userspace/sim/virtual.c userspace/sim/virtual.h \
 userspace/base/runtime.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h
userspace/sim/virtual.h:
userspace/base/runtime.h:
userspace/link/transport.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
