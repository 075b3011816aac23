bt/obj/overlay/certificate_file.o: userspace/overlay/certificate_file.c \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/base/id.h userspace/base/octets.h
userspace/overlay/certificate.h:
userspace/base/cleanup.h:
userspace/base/id.h:
userspace/base/octets.h:
