/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM tsalign

#if !defined(TSALIGN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define TSALIGN_TRACE_H

#include <linux/tracepoint.h>
#include <linux/tsalign.h>

/* Whatever the event ring tells. */
TRACE_EVENT(tsalign_event,
	TP_PROTO(const struct tsalign_event *event),
	TP_ARGS(event),
	TP_STRUCT__entry(
		__field(u32, stream)
		__field(u16, type)
		__field(u16, flags)
		__field(u32, cause)
		__field(u64, counter)
		__field(u64, host_ns)
		__field(u64, aligned_ns)
		__field(u64, epoch)
	),
	TP_fast_assign(
		__entry->stream = event->stream;
		__entry->type = event->type;
		__entry->flags = event->flags;
		__entry->cause = event->cause;
		__entry->counter = event->counter;
		__entry->host_ns = event->host_ns;
		__entry->aligned_ns = event->aligned_ns;
		__entry->epoch = event->epoch;
	),
	TP_printk("stream=%u type=%u flags=0x%x cause=%u counter=%llu host_ns=%llu aligned_ns=%llu epoch=%llu",
		  __entry->stream, __entry->type, __entry->flags,
		  __entry->cause, __entry->counter, __entry->host_ns,
		  __entry->aligned_ns, __entry->epoch)
);

#endif /* TSALIGN_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE tsalign_trace
#include <trace/define_trace.h>
