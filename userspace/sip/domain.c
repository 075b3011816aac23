/* SPDX-License-Identifier: BSD-2-Clause */
/* Domains that a site has besides the one its users are certified under. */
#include "sip/internal.h"

#include <string.h>

void gateway_canonical(const struct sip_gateway *gateway, char aor[static SIP_AOR_OCTETS + 1]) {
	if (gateway->events.canonical)
		gateway->events.canonical(gateway->events.userdata, aor);
}

int gateway_aor(const struct sip_gateway *gateway, const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]) {
	int error = uri_aor(uri, ret);

	if (error == 0)
		gateway_canonical(gateway, ret);
	return error;
}

bool gateway_realm(const struct sip_gateway *gateway, const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]) {
	char domain[SIP_AOR_OCTETS + 1], aor[SIP_AOR_OCTETS + 1];

	if (uri_domain(uri, domain) < 0 || !gateway->events.domain(gateway->events.userdata, domain))
		return false;
	strcpy(ret, domain);
	if (uri_aor(uri, aor) < 0) {
		if (strlen(domain) == SIP_AOR_OCTETS)
			return true;
		aor[0] = '@';
		strcpy(aor + 1, domain);
	}
	gateway_canonical(gateway, aor);
	strcpy(ret, strrchr(aor, '@') + 1);
	return true;
}
