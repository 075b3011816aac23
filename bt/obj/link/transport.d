bt/obj/link/transport.o: userspace/link/transport.c \
 userspace/link/transport.h userspace/base/address.h userspace/base/id.h \
 userspace/base/octets.h userspace/overlay/certificate.h \
 userspace/base/cleanup.h
userspace/link/transport.h:
userspace/base/address.h:
userspace/base/id.h:
userspace/base/octets.h:
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
