/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM tsalign

#if !defined(TSALIGN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define TSALIGN_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(tsalign_sample,
	TP_PROTO(u32 stream, u64 counter, u64 host_ns, u64 aligned_ns,
		 u16 flags),
	TP_ARGS(stream, counter, host_ns, aligned_ns, flags),
	TP_STRUCT__entry(
		__field(u32, stream)
		__field(u32, flags)
		__field(u64, counter)
		__field(u64, host_ns)
		__field(u64, aligned_ns)
	),
	TP_fast_assign(
		__entry->stream = stream;
		__entry->flags = flags;
		__entry->counter = counter;
		__entry->host_ns = host_ns;
		__entry->aligned_ns = aligned_ns;
	),
	TP_printk("stream=%u counter=%llu host_ns=%llu aligned_ns=%llu flags=0x%x",
		  __entry->stream, __entry->counter, __entry->host_ns,
		  __entry->aligned_ns, __entry->flags)
);

TRACE_EVENT(tsalign_epoch,
	TP_PROTO(u32 stream, u64 epoch, u32 cause, u64 host_ns),
	TP_ARGS(stream, epoch, cause, host_ns),
	TP_STRUCT__entry(
		__field(u32, stream)
		__field(u32, cause)
		__field(u64, epoch)
		__field(u64, host_ns)
	),
	TP_fast_assign(
		__entry->stream = stream;
		__entry->cause = cause;
		__entry->epoch = epoch;
		__entry->host_ns = host_ns;
	),
	TP_printk("stream=%u epoch=%llu cause=%u host_ns=%llu",
		  __entry->stream, __entry->epoch, __entry->cause,
		  __entry->host_ns)
);

#endif /* TSALIGN_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE tsalign_trace
#include <trace/define_trace.h>
