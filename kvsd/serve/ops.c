/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/ops.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/loop_uring.h"
#include "io/store_local.h"
#include "proto/http.h"
#include "serve/health.h"
#include "serve/server.h"

#define RING_ENTRIES 64u
#define WRITE_AGE_NS (60 * NS_PER_S) /* trial writes that nobody asked for */

enum ops_state {
	OPS_FREE = 0,
	OPS_READING,
	OPS_WAITING, /* for the threads' figures */
	OPS_SENDING,
	OPS_CLOSING, /* its operation was cancelled */
};

struct ops_conn {
	struct ops *ops;
	enum ops_state state;
	int fd;
	struct loop_op op;
	struct loop_timer timer;
	bool head_only;
	size_t len;
	uint8_t head[OPS_HEAD_BYTES_MAX];
	struct buf out;
};

struct ops {
	struct server *server;
	struct loop *loop;
	int listen_fd;
	struct loop_op accept_op;
	struct loop_timer retry_timer;
	struct loop_timer check_timer;
	struct loop_task stop_task;
	bool stopping;
	struct health health;
	/* Figures being collected: @left threads have not given theirs. */
	unsigned int left;
	struct metrics sum;
	struct ops_conn conns[OPS_CONNECTIONS_MAX];
	pthread_t thread;
};

static void accept_more(struct ops *o);

/* --- connections
 * --------------------------------------------------------------------- */

static void end_if_quiet(struct ops *o)
{
	unsigned int i;

	if (!o->stopping || loop_op_busy(&o->accept_op))
		return;
	for (i = 0; i < OPS_CONNECTIONS_MAX; i++) {
		if (o->conns[i].state != OPS_FREE)
			return;
	}
	loop_stop(o->loop);
}

static void conn_over(struct ops_conn *c)
{
	struct ops *o = c->ops;

	loop_timer_cancel(o->loop, &c->timer);
	sys_close(o->server->sys, &c->fd);
	buf_fini(&c->out);
	c->state = OPS_FREE;
	accept_more(o);
	end_if_quiet(o);
}

/* Now, or when its operation has come back. */
static void conn_cut(struct ops_conn *c)
{
	if (loop_op_busy(&c->op)) {
		c->state = OPS_CLOSING;
		loop_cancel(c->ops->loop, &c->op);
	} else {
		conn_over(c);
	}
}

static void sent(struct loop_op *op, int res)
{
	struct ops_conn *c = container_of(op, struct ops_conn, op);

	if (res <= 0 || c->state == OPS_CLOSING) {
		conn_over(c);
		return;
	}
	buf_consume(&c->out, (size_t)res);
	if (!buf_len(&c->out)) {
		conn_over(c);
		return;
	}
	loop_send(c->ops->loop, &c->op, c->fd, buf_head(&c->out),
		  buf_len(&c->out), sent);
}

/* Head and body; the connection ends with it. Takes the body's memory. */
static void answer(struct ops_conn *c, unsigned int status, const char *type,
		   struct buf *body)
{
	size_t len = buf_len(body);

	buf_init(&c->out, OPS_TEXT_BYTES_MAX + OPS_HEAD_BYTES_MAX);
	(void)http_response_begin(&c->out, status);
	(void)http_add_str(&c->out, "Content-Type", type);
	(void)http_add_u64(&c->out, "Content-Length", len);
	(void)http_add_str(&c->out, "Cache-Control", "no-store");
	if (status == 405)
		(void)http_add_str(&c->out, "Allow", "GET, HEAD");
	(void)http_add_str(&c->out, "Connection", "close");
	if (body->failed || http_head_end(&c->out) < 0 ||
	    (!c->head_only && len &&
	     buf_add(&c->out, buf_head(body), len) < 0)) {
		buf_fini(body);
		conn_over(c);
		return;
	}
	buf_fini(body);
	c->state = OPS_SENDING;
	loop_send(c->ops->loop, &c->op, c->fd, buf_head(&c->out),
		  buf_len(&c->out), sent);
}

static void answer_text(struct ops_conn *c, unsigned int status,
			const char *text)
{
	struct buf body;

	buf_init(&body, OPS_HEAD_BYTES_MAX);
	(void)buf_printf(&body, "%s\n", text);
	answer(c, status, "text/plain; charset=utf-8", &body);
}

/* --- figures
 * ------------------------------------------------------------------------- */

static void render_store(const struct ops *o, struct buf *out)
{
	struct store_local_stats st;

	store_local_stats(o->server->store, &st);
	metrics_value(out, "kvsd_store_media_bytes_total", "counter",
		      "Media taken, plain.", st.bytes_added);
	metrics_value(out, "kvsd_store_written_bytes_total", "counter",
		      "Written to segments.", st.bytes_written);
	metrics_value(out, "kvsd_store_writes_total", "counter",
		      "Writes to segments.", st.writes);
	metrics_value(out, "kvsd_store_syncs_total", "counter",
		      "Writes that were synced.", st.syncs);
	metrics_value(out, "kvsd_store_failures_total", "counter",
		      "Segments given up after a failed write.", st.failures);
	metrics_value(out, "kvsd_store_read_bytes_total", "counter",
		      "Media read and verified, plain.", st.bytes_read);
	metrics_value(out, "kvsd_store_bad_reads_total", "counter",
		      "Reads that did not verify.", st.reads_bad);
	metrics_value(out, "kvsd_store_rows_pending", "gauge",
		      "Fragments on disk that the index does not have yet.",
		      st.rows_pending);
	metrics_value(out, "kvsd_store_dropped_fragments_total", "counter",
		      "Fragments dropped to keep storage_max.", st.dropped);
	metrics_value(out, "kvsd_store_compacted_segments_total", "counter",
		      "Segments emptied into others: compact_below.",
		      st.compacted);
	metrics_value(out, "kvsd_store_compacted_bytes_total", "counter",
		      "Written to segments for that.", st.compacted_bytes);
	metrics_value(out, "kvsd_store_recycled_segments_total", "counter",
		      "Segments made of the files of dead ones.", st.recycled);
	metrics_value(out, "kvsd_store_unread_segments", "gauge",
		      "Segments that the last start could not read: their "
		      "fragments are missing until a start can.",
		      st.unread);
	metrics_value(out, "kvsd_store_segments", "gauge", "Segment files.",
		      st.segments);
}

static void render_process(const struct ops *o, struct buf *out)
{
	const struct server *s = o->server;

	metrics_value(out, "kvsd_threads", "gauge", "Ring threads.",
		      s->thread_count);
	metrics_value(out, "kvsd_ready", "gauge",
		      "New requests are welcome: /readyz is 200.",
		      health_ready(&o->health));
	metrics_value(out, "kvsd_disk_free_bytes", "gauge",
		      "Of the data directory's disk.", o->health.disk_free);
	metrics_value(out, "kvsd_certificate_expires_seconds", "gauge",
		      "Unix time at which the certificate expires.",
		      atomic_load(&s->cert_expires_s));
	metrics_value(out, "kvsd_reloads_total", "counter",
		      "Configurations taken over by SIGHUP.",
		      atomic_load(&s->reloads));
	metrics_value(out, "kvsd_reload_failures_total", "counter",
		      "Configurations refused.",
		      atomic_load(&s->reload_failures));
}

static void answer_metrics(struct ops_conn *c)
{
	struct buf body;

	buf_init(&body, OPS_TEXT_BYTES_MAX);
	metrics_render(&body, &c->ops->sum);
	render_store(c->ops, &body);
	render_process(c->ops, &body);
	answer(c, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static void collected(struct ops *o)
{
	unsigned int i;

	for (i = 0; i < OPS_CONNECTIONS_MAX; i++) {
		if (o->conns[i].state == OPS_WAITING)
			answer_metrics(&o->conns[i]);
	}
}

/* A thread has filled its snapshot. */
static void snapshot_done(struct loop_task *task)
{
	struct server_thread *t =
		container_of(task, struct server_thread, snapshot_done);
	struct ops *o = t->snapshot_ctx;

	metrics_add(&o->sum, t->snapshot);
	if (--o->left == 0)
		collected(o);
}

static void collect(struct ops *o)
{
	struct server *s = o->server;
	unsigned int i;

	if (o->left)
		return; /* under way */
	memset(&o->sum, 0, sizeof(o->sum));
	for (i = 0; i < s->thread_count; i++) {
		struct server_thread *t = &s->threads[i];

		t->snapshot_ctx = o;
		t->snapshot_to = o->loop;
		t->snapshot_done.run = snapshot_done;
		o->left += server_post(t, &t->snapshot_task);
	}
	if (!o->left)
		collected(o);
}

/* --- requests
 * ------------------------------------------------------------------------ */

static void answer_health(struct ops_conn *c)
{
	struct health *h = &c->ops->health;

	if (health_alive(h))
		answer_text(c, 200, "ok");
	else
		answer_text(c, 503, h->text[HEALTH_THREAD]);
}

static void answer_ready(struct ops_conn *c)
{
	struct health *h = &c->ops->health;
	struct buf body;

	health_check(h, OPS_CHECK_NS);
	buf_init(&body, OPS_HEAD_BYTES_MAX);
	health_describe(h, &body);
	answer(c, health_ready(h) ? 200 : 503, "text/plain; charset=utf-8",
	       &body);
}

static void timer_fired(struct loop_timer *timer)
{
	struct ops_conn *c = container_of(timer, struct ops_conn, timer);

	if (c->state == OPS_WAITING)
		answer_text(c, 503, "a thread does not answer");
	else
		conn_cut(c);
}

static void answer_figures(struct ops_conn *c)
{
	struct loop *l = c->ops->loop;

	health_check(&c->ops->health, WRITE_AGE_NS);
	c->state = OPS_WAITING;
	/* Armed already: cannot fail. Sending has the same bound after it. */
	if (loop_timer_set(l, &c->timer, loop_now_ns(l) + OPS_SCRAPE_NS_MAX,
			   timer_fired) < 0) {
		conn_over(c);
		return;
	}
	collect(c->ops);
}

static void answer_request(struct ops_conn *c, const struct http_head *h)
{
	c->head_only = slice_is(h->method, "HEAD");
	if (!c->head_only && !slice_is(h->method, "GET"))
		answer_text(c, 405, "GET only");
	else if (h->chunked || (h->has_length && h->length))
		answer_text(c, 400, "no body is wanted");
	else if (slice_is(h->path, "/healthz"))
		answer_health(c);
	else if (slice_is(h->path, "/readyz"))
		answer_ready(c);
	else if (slice_is(h->path, "/metrics"))
		answer_figures(c);
	else
		answer_text(c, 404, "there are /healthz, /readyz, /metrics");
}

static void received(struct loop_op *op, int res);

static void read_more(struct ops_conn *c)
{
	loop_recv(c->ops->loop, &c->op, c->fd, c->head + c->len,
		  sizeof(c->head) - c->len, received);
}

static void received(struct loop_op *op, int res)
{
	struct ops_conn *c = container_of(op, struct ops_conn, op);
	struct http_head head;
	int n;

	if (res <= 0 || c->state == OPS_CLOSING) {
		conn_over(c);
		return;
	}
	c->len += (size_t)res;
	n = http_request_parse(c->head, c->len, &head);
	if (n > 0)
		answer_request(c, &head);
	else if (n < 0)
		answer_text(c, http_error_status(n), "bad request");
	else if (c->len == sizeof(c->head))
		answer_text(c, 431, "the request is too long");
	else
		read_more(c);
}

/* --- accepting
 * ----------------------------------------------------------------------- */

static struct ops_conn *free_conn(struct ops *o)
{
	unsigned int i;

	for (i = 0; i < OPS_CONNECTIONS_MAX; i++) {
		if (o->conns[i].state == OPS_FREE)
			return &o->conns[i];
	}
	return NULL;
}

static void begin(struct ops *o, int fd)
{
	struct ops_conn *c = free_conn(o); /* accept_more() saw one */
	uint64_t until = loop_now_ns(o->loop) + OPS_REQUEST_NS_MAX;

	if (!c || loop_timer_set(o->loop, &c->timer, until, timer_fired) < 0) {
		sys_close(o->server->sys, &fd);
		return;
	}
	c->fd = fd;
	c->len = 0;
	c->head_only = false;
	c->state = OPS_READING;
	buf_init(&c->out, 0);
	read_more(c);
}

static void retry(struct loop_timer *timer)
{
	accept_more(container_of(timer, struct ops, retry_timer));
}

static void accepted(struct loop_op *op, int res)
{
	struct ops *o = container_of(op, struct ops, accept_op);

	if (res >= 0 && o->stopping) {
		sys_close(o->server->sys, &res);
	} else if (res >= 0) {
		begin(o, res);
	} else if (!o->stopping && res != -ECONNABORTED) {
		log_warn("serve", "metrics_listen: %s", strerror(-res));
		if (loop_timer_set(o->loop, &o->retry_timer,
				   loop_now_ns(o->loop) + NS_PER_S, retry) < 0)
			log_error("serve", "metrics_listen: no memory");
	}
	accept_more(o);
	end_if_quiet(o);
}

static void accept_more(struct ops *o)
{
	if (o->stopping || o->listen_fd < 0 || loop_op_busy(&o->accept_op) ||
	    loop_timer_armed(&o->retry_timer) || !free_conn(o))
		return;
	loop_accept(o->loop, &o->accept_op, o->listen_fd, accepted);
}

/* --- the thread
 * ---------------------------------------------------------------------- */

static void check_fired(struct loop_timer *timer)
{
	struct ops *o = container_of(timer, struct ops, check_timer);

	health_check(&o->health, WRITE_AGE_NS);
	if (!o->stopping &&
	    loop_timer_set(o->loop, timer, loop_now_ns(o->loop) + OPS_CHECK_NS,
			   check_fired) < 0)
		log_error("serve", "health: no memory for a timer");
}

static void stop_run(struct loop_task *task)
{
	struct ops *o = container_of(task, struct ops, stop_task);
	unsigned int i;

	o->stopping = true;
	loop_timer_cancel(o->loop, &o->check_timer);
	loop_timer_cancel(o->loop, &o->retry_timer);
	loop_cancel(o->loop, &o->accept_op);
	for (i = 0; i < OPS_CONNECTIONS_MAX; i++) {
		if (o->conns[i].state != OPS_FREE)
			conn_cut(&o->conns[i]);
	}
	end_if_quiet(o);
}

static void *ops_main(void *arg)
{
	struct ops *o = arg;
	int r;

	(void)pthread_setname_np(pthread_self(), "kvsd-ops");
	check_fired(&o->check_timer);
	accept_more(o);
	r = loop_run(o->loop);
	if (r < 0) {
		log_error("serve", "event loop: %s", strerror(-r));
		/* Nobody would know how we are. */
		(void)kill(getpid(), SIGTERM);
	}
	return NULL;
}

static void ops_free(struct ops *o)
{
	const struct sys_ops *sys = o->server->sys;

	o->loop = loop_free(o->loop);
	sys_close(sys, &o->listen_fd);
	free(o);
}

int ops_start(struct server *server, int listen_fd, struct ops **ret_ops)
{
	struct ops *o = calloc(1, sizeof(*o));
	unsigned int i;
	int r;

	if (!o) {
		sys_close(server->sys, &listen_fd);
		return -ENOMEM;
	}
	o->server = server;
	o->listen_fd = listen_fd;
	o->stop_task.run = stop_run;
	health_init(&o->health, server);
	for (i = 0; i < OPS_CONNECTIONS_MAX; i++) {
		o->conns[i].ops = o;
		o->conns[i].fd = -EBADF;
	}
	r = loop_uring_new(server->sys, RING_ENTRIES, &o->loop);
	if (r == 0)
		r = -pthread_create(&o->thread, NULL, ops_main, o);
	if (r < 0) {
		log_error("serve", "starting the operations thread: %s",
			  strerror(-r));
		ops_free(o);
		return r;
	}
	*ret_ops = o;
	return 0;
}

struct ops *ops_stop(struct ops *o)
{
	if (!o)
		return NULL;
	loop_post(o->loop, &o->stop_task);
	pthread_join(o->thread, NULL);
	ops_free(o);
	return NULL;
}
