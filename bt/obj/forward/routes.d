bt/obj/forward/routes.o: userspace/forward/routes.c bpf/forward.h \
 bpf/forward_work.h bpf/layout.h bpf/frame.h bpf/ring.h \
 userspace/forward/internal.h userspace/base/limits.h \
 userspace/base/log.h userspace/forward/fragment.h \
 userspace/base/octets.h userspace/base/runtime.h \
 userspace/forward/router.h userspace/link/transport.h \
 userspace/base/address.h userspace/base/id.h \
 userspace/overlay/certificate.h userspace/base/cleanup.h \
 userspace/overlay/signature.h userspace/overlay/config.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/wire/data.h \
 userspace/wire/message.h userspace/wire/destination.h \
 userspace/wire/method.h
bpf/forward.h:
bpf/forward_work.h:
bpf/layout.h:
bpf/frame.h:
bpf/ring.h:
userspace/forward/internal.h:
userspace/base/limits.h:
userspace/base/log.h:
userspace/forward/fragment.h:
userspace/base/octets.h:
userspace/base/runtime.h:
userspace/forward/router.h:
userspace/link/transport.h:
userspace/base/address.h:
userspace/base/id.h:
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
