// SPDX-License-Identifier: Apache-2.0
// Media for the SDK tests: Matroska by ffmpeg, a reader of its own, and a
// PutMedia client signed by Amazon's own signer (no SDK has that call).
import { spawnSync } from "node:child_process";
import https from "node:https";
import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";

export const ID = { EBML: 0x1a45dfa3, SEGMENT: 0x18538067, CLUSTER: 0x1f43b675,
	TAGS: 0x1254c367, TIMECODE: 0xe7, TAG: 0x7373, SIMPLE_TAG: 0x67c8,
	TAG_NAME: 0x45a3, TAG_STRING: 0x4487 };

export function tool(argv, input) {
	const done = spawnSync(argv[0], argv.slice(1),
		{ input, maxBuffer: 1 << 28, timeout: 60000 });
	return { status: done.status, out: done.stdout, err: String(done.stderr) };
}

/* H.264 (and AAC), one Cluster per key frame, 2 s each. */
export function makeMkv(seconds, audio) {
	const argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
		`testsrc2=size=320x180:rate=15:duration=${seconds}`];
	if (audio)
		argv.push("-f", "lavfi", "-i",
			`sine=frequency=440:duration=${seconds}:sample_rate=48000`,
			"-c:a", "aac");
	argv.push("-c:v", "libx264", "-preset", "ultrafast", "-g", "30",
		"-keyint_min", "30", "-sc_threshold", "0", "-pix_fmt", "yuv420p",
		"-threads", "1", "-cluster_time_limit", "2500",
		"-cluster_size_limit", "8000000", "-f", "matroska", "pipe:1");
	const done = tool(argv);
	if (done.status)
		throw new Error(`ffmpeg: ${done.err}`);
	return done.out;
}

/* {id, body, size} at pos; size is undefined when unknown; null: cut. */
export function element(data, pos) {
	const vint = (at, keep) => {
		if (at >= data.length)
			return null;
		const width = Math.clz32(data[at]) - 23;
		if (at + width > data.length)
			return null;
		let value = BigInt(data[at]);
		if (!keep)
			value &= (1n << BigInt(8 - width)) - 1n;
		for (let i = 1; i < width; i++)
			value = value << 8n | BigInt(data[at + i]);
		return { value, next: at + width,
			unknown: value === (1n << BigInt(7 * width)) - 1n };
	};
	const id = vint(pos, true);
	const size = id && vint(id.next, false);
	if (!size)
		return null;
	return { id: Number(id.value), body: size.next,
		size: size.unknown ? undefined : Number(size.value) };
}

/* Header and Clusters of a file whose Clusters have known sizes. */
export function splitFile(data) {
	let pos = 0, header = null;
	const clusters = [];
	while (pos < data.length) {
		const e = element(data, pos);
		if (e.id === ID.SEGMENT) {
			pos = e.body;
			continue;
		}
		if (e.id === ID.CLUSTER) {
			header ??= data.subarray(0, pos);
			clusters.push(data.subarray(pos, e.body + e.size));
		}
		pos = e.body + e.size;
	}
	return { header, clusters };
}

function* children(data, pos, end) {
	while (pos < end) {
		const e = element(data, pos);
		yield { id: e.id, body: e.body, end: e.body + e.size };
		pos = e.body + e.size;
	}
}

function tagPairs(data, pos, end, out) {
	for (const tag of children(data, pos, end)) {
		if (tag.id !== ID.TAG)
			continue;
		for (const s of children(data, tag.body, tag.end)) {
			if (s.id !== ID.SIMPLE_TAG)
				continue;
			let name = "", value = "";
			for (const leaf of children(data, s.body, s.end)) {
				const text = data.toString("utf8", leaf.body, leaf.end);
				if (leaf.id === ID.TAG_NAME)
					name = text;
				if (leaf.id === ID.TAG_STRING)
					value = text;
			}
			out[name.replace("AWS_KINESISVIDEO_", "")] = value;
		}
	}
}

/*
 * Documents of a body as it comes, at most count; each {tags, cluster}.
 * trailing: a document is whole with its continuation token, else with the
 * next EBML header or the end of the body. Clusters here have known sizes.
 */
export async function readDocuments(payload, count, trailing = true,
	timeoutMs = 20000) {
	const docs = [];
	let data = Buffer.alloc(0), pos = 0, doc = null, late = false;
	const timer = setTimeout(() => payload.destroy(
		new Error(`${docs.length} of ${count} documents in time`)), timeoutMs);
	const step = () => {
		const e = pos < data.length ? element(data, pos) : null;
		if (!e)
			return false;
		if (e.id === ID.SEGMENT) {
			pos = e.body;
			return true;
		}
		const end = e.body + e.size;
		if (end > data.length)
			return false;
		if (e.id === ID.EBML) {
			if (doc && !trailing)
				docs.push(doc);
			doc = { tags: {}, cluster: null };
		} else if (e.id === ID.CLUSTER) {
			doc.cluster = Buffer.from(data.subarray(pos, end));
		} else if (e.id === ID.TAGS) {
			tagPairs(data, e.body, end, doc.tags);
			if (trailing && doc.tags.CONTINUATION_TOKEN) {
				docs.push(doc);
				doc = null;
			}
		}
		pos = end;
		return true;
	};
	try {
		for await (const piece of payload) {
			data = Buffer.concat([data.subarray(pos), piece]);
			pos = 0;
			while (docs.length < count && step())
				;
			if (docs.length >= count)
				break;
		}
		if (doc && !trailing && docs.length < count)
			docs.push(doc);
	} finally {
		clearTimeout(timer);
		payload.destroy();
	}
	return docs;
}

/* An upload: write(), end(), acks as they come. */
export class Upload {
	static async open(endpoint, credentials, stream, { start, absolute }) {
		const url = new URL("/putMedia", endpoint);
		const signer = new SignatureV4({ service: "kinesisvideo",
			region: "us-west-2", credentials, sha256: Sha256 });
		const signed = await signer.sign({
			method: "POST", protocol: "https:", hostname: url.hostname,
			path: url.pathname, query: {}, headers: {
				host: url.host, "x-amzn-stream-name": stream,
				"x-amzn-fragment-timecode-type":
					absolute ? "ABSOLUTE" : "RELATIVE",
				"x-amzn-producer-start-timestamp": start.toFixed(3),
			},
		});
		const up = new Upload();
		up.acks = [];
		up.waiting = [];
		up.request = https.request(url, { method: "POST",
			headers: { ...signed.headers, "transfer-encoding": "chunked" } });
		up.request.on("error", (error) => { up.error = error; });
		up.request.flushHeaders();
		up.response = await new Promise((resolve, reject) => {
			up.request.on("response", resolve);
			up.request.on("error", reject);
		});
		up.done = new Promise((resolve) => {
			let text = "";
			up.response.on("data", (piece) => {
				text += piece;
				let at;
				while ((at = text.indexOf("\n")) >= 0) {
					if (text.slice(0, at).trim())
						up.acks.push(JSON.parse(text.slice(0, at)));
					text = text.slice(at + 1);
				}
				up.waiting = up.waiting.filter((w) => !w());
			});
			up.response.on("close", () => {
				up.text = text;
				resolve();
			});
		});
		return up;
	}

	write(data) {
		this.request.write(data);
	}

	async event(type, count = 1, timeoutMs = 15000) {
		const found = () => this.acks.filter((a) => a.EventType === type);
		await new Promise((resolve, reject) => {
			const timer = setTimeout(() => reject(new Error(
				`no ${count} ${type} in ${JSON.stringify(this.acks)}`)),
				timeoutMs);
			const check = () => {
				if (found().length < count)
					return false;
				clearTimeout(timer);
				resolve();
				return true;
			};
			if (!check())
				this.waiting.push(check);
		});
		return found();
	}

	async end() {
		this.request.end();
		await this.done;
		return this.acks;
	}
}
