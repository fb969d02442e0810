// SPDX-License-Identifier: Apache-2.0
// The unmodified Amazon SDK for JavaScript v3 against the service. Endpoint,
// credentials and CA come from the environment, as the README has them.
import assert from "node:assert/strict";
import fs from "node:fs";
import * as control from "@aws-sdk/client-kinesis-video";
import * as media from "@aws-sdk/client-kinesis-video-media";
import * as archive from "@aws-sdk/client-kinesis-video-archived-media";
import { element, ID, makeMkv, readDocuments, splitFile, tool, Upload }
	from "./media.mjs";

const ARN = /^arn:[a-z\d-]+:kinesisvideo:[a-z0-9-]+:[0-9]+:stream\/[a-zA-Z0-9_.-]+\/[0-9]{13}$/;
let failed = 0;

async function test(name, body) {
	try {
		await body();
		console.log(`ok - ${name}`);
	} catch (error) {
		failed++;
		console.log(`not ok - ${name}`);
		for (const line of String(error.stack).split("\n").slice(0, 25))
			console.log(`#    ${line.slice(0, 300)}`);
		if (error.$response)
			console.log(`#    status ${error.$response.statusCode}`);
	}
}

/* rejects() that tells the type, whichever client threw it. */
async function refused(promise, names, status) {
	let error = null;
	try {
		await promise;
	} catch (e) {
		error = e;
	}
	assert.ok(error, `no ${names}, but success`);
	assert.ok([names].flat().includes(error.name),
		`${error.name} (${error.message}), expected ${names}`);
	if (status)
		assert.equal(error.$metadata.httpStatusCode, status);
	return error;
}

const kv = new control.KinesisVideoClient({});
const endpointOf = async (stream, APIName) => (await kv.send(
	new control.GetDataEndpointCommand({ StreamName: stream, APIName })))
	.DataEndpoint;
const credentials = await kv.config.credentials();
const dataClient = async (Client, stream, api) => new Client(
	{ endpoint: await endpointOf(stream, api), maxAttempts: 1 });

async function create(name, more = {}) {
	const made = await kv.send(new control.CreateStreamCommand(
		{ StreamName: name, DataRetentionInHours: 24, ...more }));
	for (let i = 0; i < 50; i++) {
		const info = (await kv.send(new control.DescribeStreamCommand(
			{ StreamName: name }))).StreamInfo;
		if (info.Status === "ACTIVE")
			return { ...info, made: made.StreamARN };
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
	throw new Error(`${name} does not become ACTIVE`);
}

async function upload(stream, pieces, options) {
	const up = await Upload.open(await endpointOf(stream, "PUT_MEDIA"),
		credentials, stream, options);
	assert.equal(up.response.statusCode, 200);
	for (const piece of pieces)
		up.write(piece);
	const acks = await up.end();
	assert.deepEqual(acks.filter((a) => a.EventType === "ERROR"), []);
	return acks.filter((a) => a.EventType === "PERSISTED");
}

// --- control plane ---------------------------------------------------------
await test("CreateStream with every field, DescribeStream by name and ARN",
	async () => {
		const before = Date.now();
		const info = await create("every.field_1-x", {
			DeviceName: "device-1", MediaType: "video/h264,audio/aac",
			KmsKeyId: "alias/aws/kinesisvideo", DataRetentionInHours: 48,
			Tags: { place: "Zürich gate 4", "a:b/c=d+e-f@g": "" },
		});
		assert.match(info.StreamARN, ARN);
		assert.equal(info.StreamARN, info.made);
		assert.equal(info.StreamName, "every.field_1-x");
		assert.equal(info.DeviceName, "device-1");
		assert.equal(info.MediaType, "video/h264,audio/aac");
		assert.equal(info.DataRetentionInHours, 48);
		assert.ok(info.KmsKeyId);
		assert.match(info.Version, /^[a-zA-Z0-9]{1,64}$/);
		assert.ok(info.CreationTime instanceof Date);
		assert.ok(Math.abs(info.CreationTime - before) < 60000);
		const byArn = await kv.send(new control.DescribeStreamCommand(
			{ StreamARN: info.StreamARN }));
		const byName = await kv.send(new control.DescribeStreamCommand(
			{ StreamName: "every.field_1-x" }));
		assert.deepEqual(byArn.StreamInfo, byName.StreamInfo);
	});

await test("CreateStream with a name alone: retention 0", async () => {
	assert.equal((await create("plain", { DataRetentionInHours: undefined }))
		.DataRetentionInHours, 0);
});

await test("ListStreams pages over all, BEGINS_WITH filters", async () => {
	const names = [];
	for (let i = 0; i < 12; i++) {
		names.push(`page-${String(i).padStart(2, "0")}`);
		await create(names[i]);
	}
	const all = [];
	for await (const page of control.paginateListStreams(
		{ client: kv, pageSize: 5 }, {})) {
		assert.ok(page.StreamInfoList.length <= 5);
		all.push(...page.StreamInfoList.map((s) => s.StreamName));
	}
	assert.equal(all.length, new Set(all).size);
	for (const name of [...names, "plain", "every.field_1-x"])
		assert.ok(all.includes(name), `${name} among ${all}`);
	const some = [];
	for await (const page of control.paginateListStreams(
		{ client: kv, pageSize: 3 }, { StreamNameCondition: {
			ComparisonOperator: "BEGINS_WITH", ComparisonValue: "page-0",
		} }))
		some.push(...page.StreamInfoList.map((s) => s.StreamName));
	assert.deepEqual(some.sort(), names.slice(0, 10));
	const none = await kv.send(new control.ListStreamsCommand(
		{ StreamNameCondition: { ComparisonOperator: "BEGINS_WITH",
			ComparisonValue: "absent" } }));
	assert.deepEqual(none.StreamInfoList, []);
});

await test("GetDataEndpoint for every API", async () => {
	for (const api of Object.values(control.APIName)) {
		const url = new URL(await endpointOf("plain", api));
		assert.equal(url.protocol, "https:", api);
		assert.equal(url.pathname + url.search, "/", api);
	}
	const { StreamARN } = (await kv.send(new control.DescribeStreamCommand(
		{ StreamName: "plain" }))).StreamInfo;
	assert.ok((await kv.send(new control.GetDataEndpointCommand(
		{ StreamARN, APIName: "GET_MEDIA" }))).DataEndpoint);
});

await test("CreateStream twice: ResourceInUseException", async () => {
	const error = await refused(kv.send(new control.CreateStreamCommand(
		{ StreamName: "plain" })), "ResourceInUseException", 400);
	assert.ok(error instanceof control.ResourceInUseException);
	assert.ok(error.$metadata.requestId, "no request id");
});

await test("no such stream: ResourceNotFoundException", async () => {
	for (const command of [
		new control.DescribeStreamCommand({ StreamName: "absent" }),
		new control.DescribeStreamCommand({ StreamARN:
			"arn:aws:kinesisvideo:us-west-2:123456789012:stream/absent/1500000000000" }),
		new control.GetDataEndpointCommand({ StreamName: "absent",
			APIName: "PUT_MEDIA" }),
		new control.DeleteStreamCommand({ StreamARN:
			"arn:aws:kinesisvideo:us-west-2:123456789012:stream/absent/1500000000000" }),
	]) {
		const error = await refused(kv.send(command),
			"ResourceNotFoundException", 404);
		assert.ok(error instanceof control.ResourceNotFoundException);
		assert.ok(error.message.length > 5, error.message);
	}
});

await test("an ARN of an earlier stream of that name is not found",
	async () => {
		const { StreamARN } = (await kv.send(
			new control.DescribeStreamCommand({ StreamName: "plain" })))
			.StreamInfo;
		await refused(kv.send(new control.DescribeStreamCommand({ StreamARN:
			StreamARN.replace(/\d{13}$/, "1500000000000") })),
		"ResourceNotFoundException", 404);
	});

await test("neither name nor ARN, odd values: InvalidArgumentException",
	async () => {
		for (const command of [
			new control.DescribeStreamCommand({}),
			new control.CreateStreamCommand({ StreamName: "no spaces" }),
			new control.CreateStreamCommand({ StreamName: "x",
				DataRetentionInHours: -1 }),
			new control.ListStreamsCommand({ MaxResults: 0 }),
			new control.GetDataEndpointCommand({ StreamName: "plain",
				APIName: "NO_SUCH_API" }),
		])
			await refused(kv.send(command), "InvalidArgumentException", 400);
	});

// --- signatures -------------------------------------------------------------
const listStreams = (config) => new control.KinesisVideoClient(
	{ maxAttempts: 1, ...config }).send(new control.ListStreamsCommand({}));

await test("a wrong secret is refused", async () => {
	await refused(listStreams({ credentials: { ...credentials,
		secretAccessKey: "x".repeat(40) } }),
	["SignatureDoesNotMatch", "InvalidSignatureException"], 403);
});

await test("an unknown key is refused", async () => {
	await refused(listStreams({ credentials: {
		accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "x" } }),
	["InvalidClientTokenId", "UnrecognizedClientException"], 403);
});

/* Runs body() with this process's clock off by ms. */
async function atClock(ms, body) {
	const Real = Date;
	globalThis.Date = class extends Real {
		constructor(...args) {
			if (args.length)
				super(...args);
			else
				super(Real.now() + ms);
		}

		static now() {
			return Real.now() + ms;
		}
	};
	try {
		await body();
	} finally {
		globalThis.Date = Real;
	}
}

for (const [name, minutes] of [["slow", -60], ["fast", 60]])
	await test(`a clock an hour ${name}: RequestExpired, then the SDK ` +
		"corrects itself", async () => {
		await atClock(minutes * 60000, async () => {
			await refused(listStreams({}), "RequestExpired", 400);
			await listStreams({ maxAttempts: 3 });
		});
	});

await test("a clock ten minutes off is let in", async () => {
	await atClock(-600000, () => listStreams({}));
	await atClock(600000, () => listStreams({}));
});

// --- deletion -----------------------------------------------------------------
await test("DeleteStream: VersionMismatchException, then gone, then anew",
	async () => {
		const info = await create("gone");
		await refused(kv.send(new control.DeleteStreamCommand(
			{ StreamARN: info.StreamARN, CurrentVersion: "NotThisOne1" })),
		"VersionMismatchException", 400);
		await kv.send(new control.DeleteStreamCommand({
			StreamARN: info.StreamARN, CurrentVersion: info.Version }));
		await refused(kv.send(new control.DescribeStreamCommand(
			{ StreamName: "gone" })), "ResourceNotFoundException", 404);
		const again = await create("gone");
		assert.notEqual(again.StreamARN, info.StreamARN);
		await refused(kv.send(new control.DeleteStreamCommand(
			{ StreamARN: info.StreamARN })), "ResourceNotFoundException", 404);
		await kv.send(new control.DeleteStreamCommand(
			{ StreamARN: again.StreamARN }));
	});

await test("DeleteStream: the media of a stream is not in its successor",
	async () => {
		const first = await create("phoenix");
		const { header, clusters } = splitFile(makeMkv(4, false));
		await upload("phoenix", [header, ...clusters], { start: 1.6e9 });
		await kv.send(new control.DeleteStreamCommand(
			{ StreamARN: first.StreamARN }));
		await create("phoenix");
		const am = await dataClient(archive.KinesisVideoArchivedMediaClient,
			"phoenix", "LIST_FRAGMENTS");
		const page = await am.send(new archive.ListFragmentsCommand({
			StreamName: "phoenix", FragmentSelector: {
				FragmentSelectorType: "SERVER_TIMESTAMP", TimestampRange: {
					StartTimestamp: new Date(0),
					EndTimestamp: new Date() } } }));
		assert.deepEqual(page.Fragments, []);
	});

// --- media: one recording, read in every way --------------------------------------
const recording = makeMkv(12, true);
const { header, clusters } = splitFile(recording);
const START = 1700000000.25;
let acks = [];
let fragments = [];

const getMedia = async (selector, stream = "tape") => (await (
	await dataClient(media.KinesisVideoMediaClient, stream, "GET_MEDIA"))
	.send(new media.GetMediaCommand(
		{ StreamName: stream, StartSelector: selector }))).Payload;

const list = async (type, from, to, more = {}) => {
	const client = await dataClient(archive.KinesisVideoArchivedMediaClient,
		"tape", "LIST_FRAGMENTS");
	const out = [];
	for await (const page of archive.paginateListFragments(
		{ client, ...more }, { StreamName: "tape", FragmentSelector: {
			FragmentSelectorType: type, TimestampRange: {
				StartTimestamp: from, EndTimestamp: to } } })) {
		assert.ok(!more.pageSize || page.Fragments.length <= more.pageSize);
		out.push(...page.Fragments);
	}
	return out.sort((a, b) => a.FragmentNumber < b.FragmentNumber ? -1 : 1);
};

const stamp = (date) => (date / 1000).toFixed(3);

await test("PutMedia: every Cluster is PERSISTED, in order", async () => {
	assert.ok(clusters.length >= 4);
	await create("tape");
	acks = await upload("tape", [header, ...clusters], { start: START });
	assert.equal(acks.length, clusters.length);
});
const numbers = acks.map((a) => a.FragmentNumber);

await test("ListFragments by server time", async () => {
	fragments = await list("SERVER_TIMESTAMP", new Date(Date.now() - 300000),
		new Date());
	assert.deepEqual(fragments.map((f) => f.FragmentNumber), numbers);
	for (const [i, f] of fragments.entries()) {
		assert.ok(f.ServerTimestamp instanceof Date);
		assert.ok(Math.abs(f.ServerTimestamp - Date.now()) < 300000);
		assert.equal(f.ProducerTimestamp.getTime(),
			START * 1000 + acks[i].FragmentTimecode);
		assert.ok(f.FragmentSizeInBytes >= clusters[i].length);
		assert.ok(f.FragmentLengthInMilliseconds >= 1000 &&
			f.FragmentLengthInMilliseconds <= 2500,
		`length ${f.FragmentLengthInMilliseconds}`);
	}
});

await test("ListFragments by producer time: both ends are inclusive",
	async () => {
		const times = fragments.map((f) => f.ProducerTimestamp);
		const found = await list("PRODUCER_TIMESTAMP", times[1], times[3]);
		assert.deepEqual(found.map((f) => f.FragmentNumber),
			numbers.slice(1, 4));
		const inside = await list("PRODUCER_TIMESTAMP",
			new Date(times[1].getTime() + 1),
			new Date(times[3].getTime() - 1));
		assert.deepEqual(inside.map((f) => f.FragmentNumber),
			numbers.slice(2, 3));
		assert.deepEqual(await list("PRODUCER_TIMESTAMP",
			new Date(1e12), new Date(1.1e12)), []);
	});

await test("ListFragments in pages of two: each once", async () => {
	const found = await list("SERVER_TIMESTAMP",
		new Date(Date.now() - 300000), new Date(), { pageSize: 2 });
	assert.deepEqual(found.map((f) => f.FragmentNumber), numbers);
});

const expectDocuments = (docs, from) => {
	assert.equal(docs.length, numbers.length - from);
	for (const [i, doc] of docs.entries()) {
		assert.equal(doc.tags.FRAGMENT_NUMBER, numbers[from + i]);
		assert.equal(doc.tags.CONTINUATION_TOKEN, numbers[from + i]);
		assert.equal(doc.tags.SERVER_TIMESTAMP,
			stamp(fragments[from + i].ServerTimestamp));
		assert.equal(doc.tags.PRODUCER_TIMESTAMP,
			stamp(fragments[from + i].ProducerTimestamp));
		assert.ok(doc.cluster.equals(clusters[from + i]), "Cluster's bytes");
	}
};

for (const [name, from, selector] of [
	["EARLIEST", 0, () => ({})],
	["FRAGMENT_NUMBER", 2, () => ({ AfterFragmentNumber: numbers[1] })],
	["CONTINUATION_TOKEN", 3, () => ({ ContinuationToken: numbers[2] })],
	["PRODUCER_TIMESTAMP", 2, () => ({ StartTimestamp:
		new Date(fragments[2].ProducerTimestamp.getTime() + 700) })],
	["PRODUCER_TIMESTAMP", 1, () => ({ StartTimestamp:
		fragments[1].ProducerTimestamp })],
	["PRODUCER_TIMESTAMP", 0, () => ({ StartTimestamp: new Date(1e12) })],
	["SERVER_TIMESTAMP", 0, () => ({ StartTimestamp: new Date(1.6e12) })],
])
	await test(`GetMedia ${name}: from fragment ${from} on`, async () => {
		const payload = await getMedia(
			{ StartSelectorType: name, ...selector() });
		expectDocuments(await readDocuments(payload, numbers.length - from),
			from);
	});

await test("GetMedia SERVER_TIMESTAMP: the fragment that contains it",
	async () => {
		// Several may have come in that millisecond: any of them will do.
		const at = fragments.at(-1).ServerTimestamp;
		const payload = await getMedia({
			StartSelectorType: "SERVER_TIMESTAMP", StartTimestamp: at });
		const docs = await readDocuments(payload, 1);
		assert.equal(docs[0].tags.SERVER_TIMESTAMP, stamp(at));
	});

await test("GetMedia NOW follows an upload that runs", async () => {
	await create("onair");
	const up = await Upload.open(await endpointOf("onair", "PUT_MEDIA"),
		credentials, "onair", { start: Date.now() / 1000 });
	up.write(header);
	up.write(clusters[0]);
	await up.event("BUFFERING");
	const payload = await getMedia({ StartSelectorType: "NOW" }, "onair");
	const reading = readDocuments(payload, 3);
	for (let i = 1; i < 5; i++) {
		up.write(clusters[i]);
		await up.event("BUFFERING", i + 1);
		await new Promise((resolve) => setTimeout(resolve, 150));
	}
	const docs = await reading;
	const sent = (await up.end()).filter((a) => a.EventType === "PERSISTED");
	const first = sent.findIndex((a) =>
		a.FragmentNumber === docs[0].tags.FRAGMENT_NUMBER);
	assert.ok(first === 0 || first === 1, `starts at fragment ${first}`);
	for (const [i, doc] of docs.entries()) {
		assert.equal(doc.tags.FRAGMENT_NUMBER,
			sent[first + i].FragmentNumber);
		assert.ok(doc.cluster.equals(clusters[first + i]));
		assert.ok(Number(doc.tags.MILLIS_BEHIND_NOW) < 5000);
	}
});

await test("GetMedia goes on from the archive into what is live", async () => {
	const payload = await getMedia({ StartSelectorType: "EARLIEST" }, "onair");
	const reading = readDocuments(payload, 7);
	const start = Date.now() / 1000 + 1000;
	await upload("onair", [header, ...clusters.slice(0, 2)], { start });
	const docs = await reading;
	assert.ok(docs[6].cluster.equals(clusters[1]));
	const seen = docs.map((d) => d.tags.FRAGMENT_NUMBER);
	assert.deepEqual(seen, [...new Set(seen)].sort());
});

const fragmentList = async (Fragments) => (await (await dataClient(
	archive.KinesisVideoArchivedMediaClient, "tape",
	"GET_MEDIA_FOR_FRAGMENT_LIST")).send(
	new archive.GetMediaForFragmentListCommand(
		{ StreamName: "tape", Fragments }))).Payload;

await test("GetMediaForFragmentList: the asked fragments, byte for byte",
	async () => {
		const wanted = [numbers[3], numbers[0], numbers[2]];
		const docs = await readDocuments(await fragmentList(wanted), 99, false);
		assert.deepEqual(docs.map((d) => d.tags.FRAGMENT_NUMBER), wanted);
		for (const [i, n] of wanted.entries()) {
			assert.ok(docs[i].cluster.equals(clusters[numbers.indexOf(n)]));
			assert.equal(docs[i].tags.CONTINUATION_TOKEN, undefined);
		}
	});

await test("GetMediaForFragmentList of an unknown number tells", async () => {
	const absent = `${numbers[0].slice(0, -9)}000000000`;
	let payload;
	try {
		payload = await fragmentList([numbers[1], absent]);
	} catch (error) {
		assert.equal(error.name, "ResourceNotFoundException");
		return;
	}
	let body = Buffer.alloc(0);
	for await (const piece of payload)
		body = Buffer.concat([body, piece]);
	assert.ok(body.includes(clusters[1]), "the fragment before it");
	assert.ok(body.includes("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE") ||
		body.includes("AWS_KINESISVIDEO_ERROR_ID"), "no error tags");
});

const clipOf = async (stream, type, from, to) => {
	const client = await dataClient(archive.KinesisVideoArchivedMediaClient,
		stream, "GET_CLIP");
	const { Payload } = await client.send(new archive.GetClipCommand({
		StreamName: stream, ClipFragmentSelector: {
			FragmentSelectorType: type, TimestampRange: {
				StartTimestamp: from, EndTimestamp: to } } }));
	const pieces = [];
	for await (const piece of Payload)
		pieces.push(piece);
	return Buffer.concat(pieces);
};

const decoded = (path, map) => {
	const done = tool(["ffmpeg", "-v", "error", "-i", path, "-map", map,
		"-f", "framemd5", "-"]);
	assert.equal(done.status, 0);
	assert.equal(done.err, "");
	return String(done.out).split("\n").filter((l) => l && l[0] !== "#")
		.map((l) => l.split(",").at(-1).trim());
};

await test("GetClip of all: MP4 with the same pictures and sound",
	async () => {
		fs.writeFileSync("clip.mp4", await clipOf("tape", "SERVER_TIMESTAMP",
			new Date(Date.now() - 300000), new Date()));
		fs.writeFileSync("tape.mkv", recording);
		const probe = JSON.parse(tool(["ffprobe", "-v", "warning",
			"-show_streams", "-show_format", "-of", "json", "clip.mp4"]).out);
		assert.match(probe.format.format_name, /mp4/);
		assert.deepEqual(probe.streams.map((s) => s.codec_name),
			["h264", "aac"]);
		assert.deepEqual([probe.streams[0].width, probe.streams[0].height],
			[320, 180]);
		assert.ok(Math.abs(Number(probe.format.duration) - 12) < 0.2,
			`duration ${probe.format.duration}`);
		assert.deepEqual(decoded("clip.mp4", "0:v"),
			decoded("tape.mkv", "0:v"));
		decoded("clip.mp4", "0:a");
	});

await test("GetClip of a range: the fragments that start in it", async () => {
	const times = fragments.map((f) => f.ProducerTimestamp);
	fs.writeFileSync("part.mp4", await clipOf("tape", "PRODUCER_TIMESTAMP",
		times[1], new Date(times[3].getTime() - 1)));
	const all = decoded("tape.mkv", "0:v");
	const frames = decoded("part.mp4", "0:v");
	assert.equal(frames.length, 60);
	assert.deepEqual(frames, all.slice(30, 90));
});

await test("GetClip of nothing: ResourceNotFoundException", async () => {
	await refused(clipOf("tape", "PRODUCER_TIMESTAMP", new Date(1e12),
		new Date(1e12 + 1000)), "ResourceNotFoundException", 404);
});

await test("GetClip of a codec MP4 has no place for: " +
	"UnsupportedStreamMediaTypeException", async () => {
	await create("fwht");
	const vint = (n, w) => {
		const b = Buffer.alloc(w);
		b.writeUIntBE(n + 2 ** (7 * w), 0, w);
		return b;
	};
	const el = (id, ...parts) => {
		const body = Buffer.concat(parts.map((p) => typeof p === "number" ?
			Buffer.from([p]) : Buffer.from(p)));
		const hex = id.toString(16);
		return Buffer.concat([Buffer.from(hex, "hex"), vint(body.length, 4),
			body]);
	};
	const bitmap = Buffer.alloc(40);
	bitmap.writeUInt32LE(40, 0);
	bitmap.writeInt32LE(640, 4);
	bitmap.writeInt32LE(480, 8);
	bitmap.write("FWHT", 16, "latin1");
	const head = Buffer.concat([
		el(0x1a45dfa3, el(0x4286, 1), el(0x42f7, 1), el(0x42f2, 4),
			el(0x42f3, 8), el(0x4282, "matroska"), el(0x4287, 4),
			el(0x4285, 2)),
		Buffer.from("18538067ff", "hex"),
		el(0x1549a966, el(0x2ad7b1, Buffer.from([15, 66, 64]))),
		el(0x1654ae6b, el(0xae, el(0xd7, 1), el(0x73c5, 1), el(0x83, 1),
			el(0x86, "V_MS/VFW/FOURCC"), el(0x63a2, bitmap),
			el(0xe0, el(0xb0, Buffer.from([2, 128])),
				el(0xba, Buffer.from([1, 224]))))),
	]);
	const cluster = (ms) => el(ID.CLUSTER, el(ID.TIMECODE,
		Buffer.from([ms >> 8, ms & 255])), el(0xa3, Buffer.from([0x81, 0, 0,
		0x80]), Buffer.alloc(500, 7)));
	assert.ok(element(head, 0));
	await upload("fwht", [head, cluster(0), cluster(1000)],
		{ start: Date.now() / 1000 });
	const error = await refused(clipOf("fwht", "SERVER_TIMESTAMP",
		new Date(Date.now() - 60000), new Date()),
	"UnsupportedStreamMediaTypeException", 400);
	assert.ok(error instanceof archive.UnsupportedStreamMediaTypeException);
	const docs = await readDocuments(await getMedia(
		{ StartSelectorType: "EARLIEST" }, "fwht"), 2);
	assert.ok(docs[1].cluster.equals(cluster(1000)), "GetMedia serves it");
});

await test("GetClip without retention: NoDataRetentionException", async () => {
	await refused(clipOf("plain", "SERVER_TIMESTAMP",
		new Date(Date.now() - 60000), new Date()),
	"NoDataRetentionException", 400);
});

await test("data APIs on a stream that is not there", async () => {
	await refused(new media.KinesisVideoMediaClient({}).send(
		new media.GetMediaCommand({ StreamName: "absent",
			StartSelector: { StartSelectorType: "NOW" } })),
	"ResourceNotFoundException", 404);
	await refused(new archive.KinesisVideoArchivedMediaClient({}).send(
		new archive.ListFragmentsCommand({ StreamName: "absent",
			FragmentSelector: { FragmentSelectorType: "SERVER_TIMESTAMP",
				TimestampRange: { StartTimestamp: new Date(0),
					EndTimestamp: new Date() } } })),
	"ResourceNotFoundException", 404);
});

process.exit(failed ? 1 : 0);
