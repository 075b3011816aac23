/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registrar (RFC 3261 10.3). A REGISTER becomes a job; the jobs of one AoR run one after the other. A job asks the node to
 * store each change in the overlay, and changes the table of bindings only when all are stored; otherwise it takes back what was.
 */
#include "base/log.h"
#include "sip/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

/* One question to the node. */
struct step {
	struct binding *binding; /* to be committed, or the URI to be removed */
	unsigned expires_s;	 /* 0: remove */
	bool only_overlay;	 /* removes the former spelling of a URI that stays */
	char *former;		 /* what was bound, NULL for nothing */
	uint64_t former_expires_us;
};

enum { STEPS = 2 * SIP_CONTACTS_PER_AOR };

struct register_job {
	struct registration *registration;
	struct sip_transaction *transaction; /* NULL once the phone has its answer */
	char *call_id;
	uint32_t cseq;
	unsigned supported; /* extensions that the phone knows, and we */
	char *path;	    /* of the request, NULL without */
	bool direct;	    /* it came from the phone without another proxy in between */
	bool flow;	    /* binds one (RFC 5626) */
	bool everything;    /* "Contact: *" */
	bool forget;	    /* ours: removes what is lost */
	struct binding *wishes[SIP_CONTACTS_PER_AOR];
	size_t wish_count;
	struct step steps[STEPS];
	size_t step_count, step, reserved;
	bool started, undo;
	struct register_job *previous, *next;
};

struct register_job *register_job_free(struct register_job *job) {
	if (!job)
		return NULL;
	if (job->transaction)
		job->transaction->owner = NULL;
	if (job->registration) {
		DL_DELETE2(job->registration->jobs, job, previous, next);
		job->registration->job_count--;
		job->registration->gateway->reserved_bindings -= job->reserved;
	}
	for (size_t i = 0; i < job->wish_count; i++)
		binding_free(job->wishes[i]);
	for (size_t i = 0; i < job->step_count; i++) {
		binding_free(job->steps[i].binding);
		free(job->steps[i].former);
	}
	free(job->call_id);
	free(job->path);
	free(job);
	return NULL;
}

/* --- answers --- */

/* Put together once a second. */
static void write_date(struct sip_gateway *gateway, struct writer *w) {
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)(runtime_realtime_ms(gateway->runtime) / 1000);
	struct tm tm;

	if (seconds != gateway->date_of && gmtime_r(&seconds, &tm)) {
		snprintf(gateway->date, sizeof(gateway->date), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday],
			 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
		gateway->date_of = seconds;
	}
	writer_string(w, gateway->date);
}

static void write_more(const struct register_job *job, const struct binding *binding, struct writer *w) {
	const struct binding_more *more = binding->more;

	if (!more || !more->instance)
		return;
	writer_format(w, ";+sip.instance=\"<%s>\"", more->instance); /* RFC 5627 5.2 */
	if (more->reg_id != 0)
		writer_format(w, ";reg-id=%u", more->reg_id);
	if (job->supported & SIP_EXTENSION_GRUU && more->device)
		sip_gruu_write(job->registration->gateway, more->device, uri_is_secure(binding->uri), w);
}

static void write_extensions(const struct register_job *job, struct writer *w) {
	if (job->path) {
		writer_octets(w, octets_of_string("Path: "));
		writer_octets(w, octets_of_string(job->path));
		writer_octets(w, octets_of_string("\r\n"));
	}
	if (!job->flow || !(job->supported & SIP_EXTENSION_OUTBOUND))
		return;
	writer_octets(w, octets_of_string("Require: outbound\r\n"));
	if (job->direct && job->transaction && job->transaction->flow.transport != SIP_UDP)
		writer_format(w, "Flow-Timer: %d\r\n", SIP_FLOW_TIMER_SECONDS);
}

static void answer_bindings(struct register_job *job) {
	uint8_t text[LIMIT_SIP_MESSAGE];
	struct writer w = writer_fixed(text, sizeof(text));

	for (const struct binding *binding = job->registration->bindings; binding; binding = binding->next) {
		if (binding->more && binding->more->lost)
			continue;
		writer_literal(&w, "Contact: <");
		writer_string(&w, binding->contact);
		writer_literal(&w, ">;expires=");
		writer_decimal(&w, binding_seconds_left(binding));
		if (binding->q >= 0) {
			writer_literal(&w, ";q=");
			writer_thousandths(&w, (unsigned)binding->q);
		}
		write_more(job, binding, &w);
		writer_literal(&w, "\r\n");
	}
	write_extensions(job, &w);
	write_date(job->registration->gateway, &w);
	if (job->transaction)
		sip_transaction_respond(job->transaction, 200, "OK", writer_octets_written(&w));
}

static void answer_failure(struct register_job *job, unsigned status, const char *reason) {
	if (!job->transaction)
		return;
	switch (status) {
	case 400:
	case 403:
	case 404:
		sip_transaction_respond(job->transaction, status, reason, OCTETS_NONE);
		return;
	case 503:
		sip_respond_unavailable(job->transaction, reason, 0);
		return;
	default:
		sip_transaction_respond(job->transaction, 500, reason, OCTETS_NONE);
	}
}

/* --- what is to change --- */

static bool out_of_order(const struct register_job *job, const struct binding *binding) {
	return strcmp(binding->call_id, job->call_id) == 0 && job->cseq <= binding->cseq;
}

static int add_step(struct register_job *job, struct binding *binding, unsigned expires_s, const struct binding *former) {
	struct step *step = &job->steps[job->step_count];

	if (former) {
		step->former = strdup(binding_name(former));
		if (!step->former)
			return -ENOMEM;
		step->former_expires_us = former->expires_us;
	}
	step->binding = binding;
	step->expires_s = expires_s;
	job->step_count++;
	return 0;
}

static int plan_removal(struct register_job *job, const struct binding *former, bool only_overlay) {
	_cleanup_(binding_freep) struct binding *name = binding_like(former);

	if (!name || add_step(job, name, 0, former) < 0)
		return -ENOMEM;
	TAKE(name);
	job->steps[job->step_count - 1].only_overlay = only_overlay;
	return 0;
}

static bool respelled(const struct binding *wish, const struct binding *former) {
	return former && strcmp(binding_name(former), binding_name(wish)) != 0;
}

/* A removal of what we do not know is stored, too: it may be in the overlay from before a restart. */
static int plan_wish_removal(struct register_job *job, size_t index) {
	struct binding *wish = job->wishes[index], *former = registration_same(job->registration, wish);

	if (wish->expires_s > 0)
		return respelled(wish, former) ? plan_removal(job, former, true) : 0;
	if (former)
		return plan_removal(job, former, false);
	if (add_step(job, wish, 0, NULL) < 0)
		return -ENOMEM;
	job->wishes[index] = NULL;
	return 0;
}

/*
 * What the device is called in its temporary GRUUs. With another Call-ID than that of its former registration all that it has been
 * given are invalid, so it gets another number (RFC 5627 5.1).
 */
static uint64_t device_number(const struct registration *registration, const struct binding *wish) {
	const struct sip_device *device = sip_device_find(registration, wish->more->instance);
	const struct binding *latest = NULL;

	for (const struct binding *binding = registration->bindings; device && binding; binding = binding->next)
		if (binding->more && binding->more->device == device &&
		    (wish->more->reg_id == 0 || binding->more->reg_id == wish->more->reg_id))
			latest = binding;
	if (!device || device->number == 0 || (latest && strcmp(latest->call_id, wish->call_id) != 0))
		return sip_device_number(registration->gateway, device);
	return device->number;
}

static int plan_wish_addition(struct register_job *job, size_t index, size_t *added) {
	struct binding *wish = job->wishes[index], *former = wish ? registration_same(job->registration, wish) : NULL;

	if (!wish || wish->expires_s == 0)
		return 0;
	if (wish->more && wish->more->instance)
		wish->more->number = device_number(job->registration, wish);
	if (add_step(job, wish, wish->expires_s, respelled(wish, former) ? NULL : former) < 0)
		return -ENOMEM;
	job->wishes[index] = NULL;
	if (!former)
		++*added;
	return 0;
}

/* Returns 0 or the status to refuse with. */
static unsigned plan(struct register_job *job, const char **ret_reason) {
	struct registration *registration = job->registration;
	struct sip_gateway *gateway = registration->gateway;
	size_t removed = 0, added = 0;

	*ret_reason = "CSeq Not Above the Last One";
	for (size_t i = 0; i < job->wish_count; i++) {
		const struct binding *former = registration_same(registration, job->wishes[i]);
		if (job->forget && !(former && former->more && former->more->lost)) /* it came back */
			job->wish_count = 0;
		if (job->wish_count == 0)
			break;
		if (former && out_of_order(job, former))
			return 400;
		removed += former && job->wishes[i]->expires_s == 0;
	}
	if (job->everything)
		for (const struct binding *former = registration->bindings; former; former = former->next)
			if (out_of_order(job, former))
				return 400;
	*ret_reason = "Out of Memory";
	if (job->everything)
		for (const struct binding *former = registration->bindings; former; former = former->next)
			if (plan_removal(job, former, false) < 0)
				return 500;
	/* Removals come first, also of a former spelling of an equal URI, so that what they occupy is free for what is added. */
	for (size_t i = 0; i < job->wish_count; i++)
		if (plan_wish_removal(job, i) < 0)
			return 500;
	for (size_t i = 0; i < job->wish_count; i++)
		if (plan_wish_addition(job, i, &added) < 0)
			return 500;
	*ret_reason = "Too Many Contacts";
	if (registration->binding_count - removed + added > SIP_CONTACTS_PER_AOR)
		return 403;
	*ret_reason = "Too Many Registrations";
	if (gateway->figures.bindings + gateway->reserved_bindings + added > LIMIT_SIP_BINDINGS)
		return 503;
	job->reserved = added;
	gateway->reserved_bindings += added;
	return 0;
}

/* --- running --- */

static void bind_done(void *userdata, unsigned status, const char *reason);

/* `binding` says more about what is bound; its time, when that is to be removed. */
static bool ask(struct register_job *job, const char *name, unsigned expires_s, const struct binding *binding) {
	struct sip_gateway *gateway = job->registration->gateway;
	struct sip_call *call = sip_call_new(gateway, job, NULL);

	if (!call)
		return false;
	const struct binding_more *more = binding->more;
	struct sip_binding_request request = {
		.aor = job->registration->aor, .contact = binding->contact, .name = name, .expires_s = expires_s, .q = -1};
	if (expires_s > 0) {
		request.call_id = binding->call_id;
		request.cseq = binding->cseq;
		request.q = binding->q;
		request.source = binding->source;
		request.local = binding->flow.local;
		request.transport = binding->flow.transport;
		request.path = more ? more->path : NULL;
		request.instance = more ? more->instance : NULL;
		request.reg_id = more ? more->reg_id : 0;
		request.device = more ? more->number : 0;
	}
	gateway->events.bind(gateway->events.userdata, &request, bind_done, call);
	return true;
}

/* Restores what the overlay held before a step. False when there is nothing to do, or no memory to do it. */
static bool ask_undo(struct register_job *job, const struct step *step) {
	uint64_t now_us = job->registration->gateway->runtime->now_us;

	const struct binding *former = registration_same(job->registration, step->binding);
	if (step->former && step->former_expires_us > now_us && former)
		return ask(job, step->former, (unsigned)((step->former_expires_us - now_us + USEC_PER_SEC - 1) / USEC_PER_SEC),
			   former);
	return step->expires_s > 0 && ask(job, binding_name(step->binding), 0, step->binding);
}

static void commit(struct register_job *job) {
	for (size_t i = 0; i < job->step_count; i++) {
		struct step *step = &job->steps[i];
		if (step->expires_s > 0)
			registration_commit(job->registration, TAKE(step->binding));
		else if (!step->only_overlay)
			binding_free(registration_same(job->registration, step->binding));
	}
}

static void fail(struct register_job *job, unsigned status, const char *reason) {
	answer_failure(job, status, reason);
	job->undo = true;
}

/* Does what can be done now. True when the job is finished, false when it waits for the node. */
static bool advance(struct register_job *job) {
	const char *reason;

	if (!job->started) {
		job->started = true;
		if (!job->transaction && !job->forget)
			return true; /* has waited for too long behind others */
		unsigned status = plan(job, &reason);
		if (status != 0) {
			answer_failure(job, status, reason);
			return true;
		}
	}
	while (!job->undo && job->step < job->step_count) {
		const struct step *step = &job->steps[job->step];
		if (ask(job, binding_name(step->binding), step->expires_s, step->binding))
			return false;
		fail(job, 500, "Out of Memory");
	}
	if (!job->undo) {
		commit(job);
		answer_bindings(job);
		return true;
	}
	while (job->step > 0) {
		job->step--;
		if (ask_undo(job, &job->steps[job->step]))
			return false;
	}
	return true;
}

static void run(struct registration *registration) {
	while (registration->jobs && advance(registration->jobs))
		register_job_free(registration->jobs);
	registration_release(registration);
}

static void bind_done(void *userdata, unsigned status, const char *reason) {
	struct register_job *job = sip_call_end(userdata);

	if (!job)
		return;
	if (job->undo) {
		if (status != 200)
			log_warning("registration of %s: the overlay may hold a Contact that was refused until it expires: %s",
				    job->registration->aor, reason ? reason : "no reason given");
	} else if (status != 200) {
		fail(job, status, reason ? reason : "Not Stored");
	} else {
		job->step++;
		if (!job->transaction && !job->forget)
			job->undo = true; /* the phone was told that it failed */
	}
	run(job->registration);
}

/* --- from the request --- */

/* delta-seconds; what is none counts as one hour (RFC 3261 20.19). */
static uint32_t parse_expires(struct octets text) {
	uint32_t seconds = 0;
	int error = sip_number_parse(text, &seconds);

	return error == 0 ? seconds : error == -ERANGE ? UINT32_MAX : 3600;
}

/* "0.25" in thousandths, -1 for anything else. */
static int parse_q(const char *text) {
	int q = 0, scale = 1000;

	if (!text || (text[0] != '0' && text[0] != '1') || (text[1] != 0 && text[1] != '.') || strlen(text) > 5)
		return -1;
	q = (text[0] - '0') * 1000;
	for (size_t i = 2; text[1] != 0 && text[i]; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		scale /= 10;
		q += (text[i] - '0') * scale;
	}
	return q <= 1000 ? q : -1;
}

/* What goes beyond RFC 3261, of phones that do. */
static int read_more(const struct register_job *job, const osip_contact_t *contact, struct binding *wish) {
	struct binding_more more = {0};

	if (sip_extensions_offered(job->registration->gateway) == 0)
		return 0;
	int error = sip_device_read(contact, &more);
	if (error < 0 || (!more.instance && !job->path))
		return error;
	if (more.reg_id != 0 && asprintf(&more.name, "reg-id=%u;%s", more.reg_id, more.instance) < 0)
		more.name = NULL;
	more.path = job->path ? strdup(job->path) : NULL;
	wish->more = malloc(sizeof(more));
	if (!wish->more || (job->path && !more.path) || (more.reg_id != 0 && !more.name)) {
		free(more.name);
		free(more.path);
		free(more.instance);
		free(wish->more);
		wish->more = NULL;
		return -ENOMEM;
	}
	*wish->more = more;
	return 0;
}

static int wish_of(const struct register_job *job, const osip_contact_t *contact, const struct sip_flow *flow, uint32_t expires_s,
		   struct binding **ret) {
	_cleanup_(binding_freep) struct binding *wish = calloc(1, sizeof(*wish));
	char *text = NULL;

	if (!wish)
		return -ENOMEM;
	if (!contact->url || osip_uri_to_str(contact->url, &text) != OSIP_SUCCESS || !text)
		return -EINVAL;
	wish->contact = strdup(text);
	osip_free(text);
	wish->call_id = strdup(job->call_id);
	if (!wish->contact || !wish->call_id)
		return -ENOMEM;
	wish->uri = uri_parse(wish->contact);
	if (!wish->uri || !uri_is_sip(wish->uri))
		return -EINVAL;
	wish->cseq = job->cseq;
	wish->q = parse_q(sip_parameter(&contact->gen_params, "q"));
	wish->expires_s = expires_s;
	wish->source = flow->remote;
	wish->flow = *flow;
	int error = read_more(job, contact, wish);
	if (error == 0)
		*ret = TAKE(wish);
	return error;
}

static bool has_flow(const struct binding *wish) {
	return wish->more && wish->more->reg_id != 0;
}

/* The last of several wishes for one URI counts; those with flows are told apart by these. */
static unsigned add_wish(struct register_job *job, struct binding *wish, const char **ret_reason) {
	for (size_t i = 0; i < job->wish_count; i++)
		if (uri_equal(job->wishes[i]->uri, wish->uri) && !has_flow(wish) && !has_flow(job->wishes[i])) {
			binding_free(job->wishes[i]);
			job->wishes[i] = wish;
			return 0;
		}
	if (job->wish_count == SIP_CONTACTS_PER_AOR) {
		binding_free(wish);
		*ret_reason = "Too Many Contacts";
		return 403;
	}
	job->wishes[job->wish_count++] = wish;
	return 0;
}

static unsigned read_contact(struct register_job *job, const struct sip_request *request, const osip_contact_t *contact,
			     const struct sip_flow *flow, const char **ret_reason) {
	const struct sip_gateway *gateway = job->registration->gateway;
	const char *parameter = sip_parameter(&contact->gen_params, "expires");
	struct octets field = request->frame.field[SIP_FIELD_EXPIRES];
	struct binding *wish = NULL;

	if (!contact->url && contact->displayname && strcmp(contact->displayname, "*") == 0) {
		*ret_reason = "Contact * Not With Expires 0 Alone"; /* RFC 3261 10.3 step 6 */
		job->everything = true;
		return field.data && octets_equal(field, octets_of_string("0")) && !parameter ? 0 : 400;
	}
	uint32_t expires_s = parameter	  ? parse_expires(octets_of_string(parameter))
			     : field.data ? parse_expires(field)
					  : gateway->expires_default_s;
	if (expires_s > 0 && expires_s < 3600 && expires_s < gateway->expires_min_s) {
		*ret_reason = "Interval Too Brief";
		return 423;
	}
	if (expires_s > gateway->expires_max_s)
		expires_s = gateway->expires_max_s;
	int error = wish_of(job, contact, flow, expires_s, &wish);
	*ret_reason = error == -EINVAL ? "Malformed Contact" : "Out of Memory";
	return error == -EINVAL ? 400 : error < 0 ? 500 : add_wish(job, wish, ret_reason);
}

/* RFC 5626 6: one REGISTER binds one flow, and only where there is one. */
static unsigned check_flows(struct register_job *job, const struct sip_request *request, const char **ret_reason) {
	size_t added = 0, flows = 0;

	for (size_t i = 0; i < job->wish_count; i++)
		flows += has_flow(job->wishes[i]);
	if (flows > 0 && !sip_flow_usable(request, job->path)) {
		*ret_reason = "First Hop Lacks Outbound Support";
		if (job->supported & SIP_EXTENSION_OUTBOUND)
			return 439;
		for (size_t i = 0; i < job->wish_count; i++)
			if (has_flow(job->wishes[i])) {
				job->wishes[i]->more->reg_id = 0;
				free(job->wishes[i]->more->name);
				job->wishes[i]->more->name = NULL;
			}
		return 0;
	}
	flows = 0;
	for (size_t i = 0; i < job->wish_count; i++) {
		added += job->wishes[i]->expires_s > 0;
		flows += job->wishes[i]->expires_s > 0 && has_flow(job->wishes[i]);
	}
	*ret_reason = "One Flow Per Registration";
	job->flow = flows > 0;
	return flows > 0 && added > 1 ? 400 : 0;
}

static unsigned read_contacts(struct register_job *job, const struct sip_request *request, const struct sip_flow *flow,
			      const char **ret_reason) {
	const osip_list_t *contacts = &request->message->contacts;
	osip_list_iterator_t at;
	size_t count = 0;

	for (osip_contact_t *contact = osip_list_get_first(contacts, &at); osip_list_iterator_has_elem(at);
	     contact = osip_list_get_next(&at)) {
		unsigned status = contact ? read_contact(job, request, contact, flow, ret_reason) : 0;
		if (status != 0)
			return status;
		count++;
	}
	*ret_reason = "Contact * Not Alone";
	if (job->everything && count > 1)
		return 400;
	return check_flows(job, request, ret_reason);
}

/* RFC 3261 10.3 step 1: the domain whose registrar is asked. Returns 0 or the status to refuse with. */
static unsigned check_domain(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			     char of_to[static SIP_AOR_OCTETS + 1], const char **ret_reason) {
	const osip_message_t *message = request->message;
	char domain[SIP_AOR_OCTETS + 1];

	*ret_reason = "Domain Not Served";
	if (uri_domain(message->req_uri, domain) < 0 || uri_domain(message->to->url, of_to) < 0 ||
	    !gateway->events.domain(gateway->events.userdata, of_to))
		return 404;
	return strcmp(domain, of_to) != 0 && !gateway_owns_address(gateway, message->req_uri, flow) ? 404 : 0;
}

/*
 * Step 4: whoever showed a password, `user`, may register that user's phones, and those of others only where the site says so.
 * Without passwords From tells who asks.
 */
static bool authorized(const struct sip_gateway *gateway, const char *user, const char *from, const char *aor) {
	const struct sip_gateway_events *events = &gateway->events;

	if (!user)
		return strcmp(from, aor) == 0;
	if (strcmp(from, user) != 0 && strcmp(from, aor) != 0)
		return false;
	return strcmp(user, aor) == 0 || (events->registrar && events->registrar(events->userdata, user, aor));
}

/* Steps 4 and 5. `user` is NULL without passwords. Returns 0 or the status to refuse with. */
static unsigned check_user(struct sip_gateway *gateway, const struct sip_request *request, const char *user,
			   char aor[static SIP_AOR_OCTETS + 1], const char **ret_reason) {
	const osip_message_t *message = request->message;
	char from[SIP_AOR_OCTETS + 1];

	*ret_reason = "Not Found";
	if (uri_aor(message->to->url, aor) < 0)
		return 404;
	*ret_reason = "Third-Party Registration Not Allowed";
	if (uri_aor(message->from->url, from) < 0 || !authorized(gateway, user, from, aor))
		return 403;
	*ret_reason = "Not Found";
	if (!gateway->events.user(gateway->events.userdata, aor))
		return 404;
	*ret_reason = "Call-ID Too Long";
	return request->frame.field[SIP_FIELD_CALL_ID].length > SIP_CALL_ID_OCTETS ? 400 : 0;
}

static struct register_job *job_new(struct registration *registration, const struct sip_request *request) {
	struct octets call_id = request->frame.field[SIP_FIELD_CALL_ID];
	struct register_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->call_id = strndup((const char *)call_id.data, call_id.length);
	if (!job->call_id)
		return register_job_free(job);
	job->cseq = request->cseq;
	job->direct = osip_list_size(&request->message->vias) == 1;
	job->registration = registration;
	DL_APPEND2(registration->jobs, job, previous, next);
	registration->job_count++;
	return job;
}

static void refuse(const struct sip_gateway *gateway, struct sip_transaction *transaction, unsigned status, const char *reason) {
	char field[64] = "";

	if (status == 503) {
		sip_respond_unavailable(transaction, reason, 0);
		return;
	}
	if (status == 423)
		snprintf(field, sizeof(field), "Min-Expires: %u\r\n", gateway->expires_min_s);
	if (status == 420)
		snprintf(field, sizeof(field), "Unsupported: path\r\n");
	sip_transaction_respond(transaction, status, reason, octets_of_string(field));
}

/* A proxy that adds a Path to the REGISTER of a phone that knows nothing of it is to be found out (RFC 3327 5.3). */
static unsigned read_extensions(struct register_job *job, const struct sip_request *request, const char **ret_reason) {
	unsigned offered = sip_extensions_offered(job->registration->gateway);

	job->supported = offered ? sip_extensions_read(&request->frame, "Supported", offered, NULL) : 0;
	int error = offered & SIP_EXTENSION_PATH ? sip_path_read(&request->frame, &job->path) : 0;
	*ret_reason = error == -ENOBUFS ? "Path Too Long" : error == -ENOMEM ? "Out of Memory" : "Malformed Path";
	if (error < 0)
		return error == -ENOMEM ? 500 : 400;
	*ret_reason = "Bad Extension";
	return job->path && !(job->supported & SIP_EXTENSION_PATH) ? 420 : 0;
}

/* Without room for it the overlay forgets by itself, when the time of the binding is over. */
void sip_register_forget(struct binding *binding) {
	struct registration *registration = binding->registration;
	struct register_job *job = registration->job_count < SIP_REGISTERS_PER_AOR ? calloc(1, sizeof(*job)) : NULL;

	if (job) {
		job->call_id = strdup("");
		job->wishes[0] = binding_like(binding);
		job->wish_count = job->wishes[0] ? 1 : 0;
		job->forget = true;
	}
	if (!job || !job->call_id || job->wish_count == 0) {
		register_job_free(job);
		binding_free(binding);
		registration_release(registration);
		return;
	}
	job->registration = registration;
	DL_APPEND2(registration->jobs, job, previous, next);
	registration->job_count++;
	if (registration->jobs == job)
		run(registration);
}

void sip_register(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request) {
	char aor[SIP_AOR_OCTETS + 1], realm[SIP_AOR_OCTETS + 1], user[SIP_AOR_OCTETS + 1];
	const char *reason = NULL;

	unsigned status = check_domain(gateway, request, &transaction->flow, realm, &reason);
	/* Step 3: before anything is told about who exists here. */
	if (status == 0 && gateway->auth.on && !sip_authenticate(gateway, transaction, request, realm, false, user))
		return;
	if (status == 0)
		status = check_user(gateway, request, gateway->auth.on ? user : NULL, aor, &reason);
	if (status != 0) {
		refuse(gateway, transaction, status, reason);
		return;
	}
	struct registration *registration = registration_get(gateway, aor);
	if (!registration) {
		refuse(gateway, transaction, 500, "Out of Memory");
		return;
	}
	struct register_job *job = registration->job_count < SIP_REGISTERS_PER_AOR ? job_new(registration, request) : NULL;
	if (!job) {
		refuse(gateway, transaction, 503, "Too Many Registrations at Once");
		registration_release(registration);
		return;
	}
	status = read_extensions(job, request, &reason);
	if (status == 0)
		status = read_contacts(job, request, &transaction->flow, &reason);
	if (status != 0) {
		refuse(gateway, transaction, status, reason);
		register_job_free(job);
		registration_release(registration);
		return;
	}
	sip_transaction_own(transaction, &job->transaction);
	if (registration->jobs == job)
		run(registration);
}
