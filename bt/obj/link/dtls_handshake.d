bt/obj/link/dtls_handshake.o: userspace/link/dtls_handshake.c \
 userspace/base/log.h userspace/link/dtls_internal.h \
 userspace/base/limits.h userspace/link/cookie.h userspace/base/address.h \
 userspace/base/runtime.h userspace/link/record.h \
 userspace/base/cleanup.h userspace/base/octets.h bpf/fastpath.h \
 bpf/layout.h userspace/link/dtls.h userspace/link/transport.h \
 userspace/base/id.h userspace/overlay/certificate.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/link/frame.h userspace/link/sender.h
userspace/base/log.h:
userspace/link/dtls_internal.h:
userspace/base/limits.h:
userspace/link/cookie.h:
userspace/base/address.h:
userspace/base/runtime.h:
userspace/link/record.h:
userspace/base/cleanup.h:
userspace/base/octets.h:
bpf/fastpath.h:
bpf/layout.h:
userspace/link/dtls.h:
userspace/link/transport.h:
userspace/base/id.h:
userspace/overlay/certificate.h:
userspace/overlay/signature.h:
userspace/overlay/config.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/wire/data.h:
userspace/wire/message.h:
userspace/wire/destination.h:
userspace/link/frame.h:
userspace/link/sender.h:
