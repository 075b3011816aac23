bt/obj/link/dtls.o: userspace/link/dtls.c userspace/link/dtls.h \
 userspace/base/limits.h userspace/base/runtime.h \
 userspace/link/transport.h userspace/base/address.h userspace/base/id.h \
 userspace/base/octets.h userspace/overlay/certificate.h \
 userspace/base/cleanup.h userspace/overlay/signature.h \
 userspace/overlay/config.h userspace/overlay/kind.h \
 userspace/wire/codes.h userspace/wire/data.h userspace/wire/message.h \
 userspace/wire/destination.h userspace/base/log.h \
 userspace/link/dtls_internal.h userspace/link/cookie.h \
 userspace/link/record.h bpf/fastpath.h bpf/layout.h \
 userspace/link/frame.h userspace/link/sender.h
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
userspace/base/log.h:
userspace/link/dtls_internal.h:
userspace/link/cookie.h:
userspace/link/record.h:
bpf/fastpath.h:
bpf/layout.h:
userspace/link/frame.h:
userspace/link/sender.h:
