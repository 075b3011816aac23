bt/obj/support/link_net.o: tests/support/link_net.c \
 tests/support/link_net.h userspace/link/dtls.h userspace/base/limits.h \
 userspace/base/runtime.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h userspace/base/octets.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 tests/support/support_identity.h userspace/overlay/document.h
tests/support/link_net.h:
userspace/link/dtls.h:
userspace/base/limits.h:
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
tests/support/support_identity.h:
userspace/overlay/document.h:
