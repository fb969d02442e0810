# SPDX-License-Identifier: Apache-2.0
"""The service end to end; see serve_smoke.sh."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
from kvs_client import CLUSTER, ApiError, split_mkv  # noqa: E402
from kvsd_server import KVSD, Bench, require, run_tool  # noqa: E402


def film():
    """Eight seconds of H.264 with B-frames and AAC."""
    status, data, errors = run_tool([
        "ffmpeg", "-hide_banner", "-loglevel", "error",
        "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=8",
        "-f", "lavfi", "-i", "sine=duration=8",
        "-c:v", "libx264", "-g", "50", "-bf", "2", "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-ac", "1", "-f", "matroska",
        "-cluster_time_limit", "2000", "-write_crc32", "0", "-"])
    if status:
        raise RuntimeError(errors)
    return data


def frame_hashes(data, kind):
    status, out, errors = run_tool([
        "ffmpeg", "-v", "error", "-f", kind, "-i", "-", "-map", "0:v",
        "-f", "framemd5", "-"], data)
    if status:
        raise RuntimeError(errors)
    return [line.split()[-1] for line in out.decode().splitlines()
            if not line.startswith("#")]


def refused(call, kind, status):
    try:
        call()
    except ApiError as error:
        assert (error.type, error.status) == (kind, status), error
        assert error.headers["x-amz-errortype"] == kind
        assert error.headers["x-amzn-requestid"]
        return
    raise AssertionError(f"not refused: {kind}")


def main():
    require("ffmpeg")
    bench = Bench()
    bench.start()
    client = bench.client()
    mkv = film()
    header, parts = split_mkv(mkv)
    clusters = [data for ident, data in parts if ident == CLUSTER]
    body = header + b"".join(clusters)
    start = time.time()
    docs = []

    with bench.case("a stream is made, found and listed"):
        arn = client.call("createStream", StreamName="cam",
                          DataRetentionInHours=1)["StreamARN"]
        info = client.call("describeStream", StreamARN=arn)["StreamInfo"]
        assert info["StreamName"] == "cam" and info["Status"] == "ACTIVE"
        assert client.call("getDataEndpoint", StreamName="cam",
                           APIName="PUT_MEDIA")["DataEndpoint"]
        assert len(client.call("listStreams")["StreamInfoList"]) == 1

    with bench.case("errors have the contract's names"):
        refused(lambda: client.call("createStream", StreamName="cam"),
                "ResourceInUseException", 400)
        refused(lambda: client.call("createStream", StreamName="no good"),
                "InvalidArgumentException", 400)
        refused(lambda: client.call("describeStream", StreamName=5),
                "SerializationException", 400)
        refused(lambda: client.call("describeStream", StreamName="none"),
                "ResourceNotFoundException", 404)
        refused(lambda: client.call("nothingLikeThis"),
                "UnknownOperationException", 404)
        status, headers, _ = client.raw_call("/listStreams", b"{}",
                                             sign_it=False)
        assert status == 403
        assert headers["x-amzn-errortype"] == "MissingAuthenticationToken"

    with bench.case("an upload is acknowledged to the last fragment"):
        put = client.put_media("cam", absolute=False, start=start,
                               expect=True)
        assert put.saw_continue
        put.write(body)
        put.end()
        acks = put.wait_closed()
        assert not put.events("ERROR"), acks
        assert len(put.events("PERSISTED")) == len(clusters), acks

    with bench.case("GetMedia gives header and clusters byte for byte"):
        media = client.get_media("cam", StartSelectorType="EARLIEST")
        docs = media.documents(len(clusters))
        media.close()
        assert [d.cluster for d in docs] == clusters
        assert all(d.header == header and d.token == d.number for d in docs)

    with bench.case("fragments are listed and fetched by number"):
        found = client.call("listFragments", StreamName="cam",
                            FragmentSelector={
                                "FragmentSelectorType": "SERVER_TIMESTAMP",
                                "TimestampRange": {
                                    "StartTimestamp": start - 10,
                                    "EndTimestamp": start + 60}})
        numbers = [f["FragmentNumber"] for f in found["Fragments"]]
        assert sorted(numbers) == [d.number for d in docs]
        media = client.get_media_for_fragment_list("cam", numbers[::-1])
        assert [d.number for d in media.documents()] == numbers[::-1]

    with bench.case("a clip has the frames that were sent"):
        clip = client.get_clip("cam", start - 1, start + 60,
                               "PRODUCER_TIMESTAMP")
        assert frame_hashes(clip, "mp4") == frame_hashes(mkv, "matroska")

    with bench.case("all of it is there after SIGKILL"):
        bench.kill()
        bench.start()
        client = bench.client()
        media = client.get_media("cam", StartSelectorType="EARLIEST")
        again = media.documents(len(clusters))
        media.close()
        assert [(d.header, d.tags, d.cluster) for d in again] == \
            [(d.header, d.tags, d.cluster) for d in docs]

    with bench.case("a live reader sees bytes before the fragment ends"):
        media = client.get_media("cam", StartSelectorType="FRAGMENT_NUMBER",
                                 AfterFragmentNumber=docs[-1].number)
        put = client.put_media("cam", absolute=False, start=time.time())
        put.write(header + clusters[0][:8000])
        media.wait_bytes(lambda data: clusters[0][:4000] in data)
        put.write(clusters[0][8000:] + b"".join(clusters[1:]))
        put.end()
        put.wait_closed()
        live = media.documents(len(clusters))
        media.close()
        assert [d.cluster for d in live] == clusters
        assert all(d.complete for d in live)

    with bench.case("retention changes by hours, at once, both ways"):
        def stream():
            return client.call("describeStream", StreamName="cam")["StreamInfo"]

        def change(operation, hours, **what):
            what = what or {"StreamName": "cam"}
            what.setdefault("CurrentVersion", stream()["Version"])
            client.call("updateDataRetention", Operation=operation,
                        DataRetentionChangeInHours=hours, **what)

        def listed():
            found = client.call("listFragments", StreamName="cam",
                                FragmentSelector={
                                    "FragmentSelectorType": "SERVER_TIMESTAMP",
                                    "TimestampRange": {
                                        "StartTimestamp": start - 10,
                                        "EndTimestamp": start + 600}})
            return [f["FragmentNumber"] for f in found["Fragments"]]

        def count():
            return len(listed())

        more, less = "INCREASE_DATA_RETENTION", "DECREASE_DATA_RETENTION"
        for call, kind, status in (
                (lambda: change(more, 1, StreamName="cam",
                                CurrentVersion="nope"),
                 "VersionMismatchException", 400),
                (lambda: change(less, 2), "InvalidArgumentException", 400),
                (lambda: change(more, 87600), "InvalidArgumentException", 400),
                (lambda: change(more, 0), "InvalidArgumentException", 400),
                (lambda: change("KEEP", 1), "InvalidArgumentException", 400),
                (lambda: client.call("updateDataRetention", StreamName="cam",
                                     Operation=more,
                                     DataRetentionChangeInHours=1),
                 "InvalidArgumentException", 400),
                (lambda: change(more, 1, StreamName="none"),
                 "ResourceNotFoundException", 404)):
            refused(call, kind, status)
        had = count()
        was = stream()
        assert had == 2 * len(clusters)
        change(more, 2, StreamARN=arn)
        now = stream()
        assert now["DataRetentionInHours"] == 3 and count() == had
        assert now["Version"] != was["Version"]

    def hold(*words):
        status, out, errors = run_tool([KVSD, "hold", words[0],
                                        bench.directory, *words[1:]])
        return status, out.decode() + errors

    with bench.case("what is on legal hold outlives its retention, a restart "
                    "and the stream's deletion"):
        # The first upload's second fragment, by the producer's clock.
        at = start + 2.5
        assert hold("add", "none", "c")[0] == 1
        assert hold("add", "cam", "case-1", "--from", f"{at:.3f}",
                    "--to", f"{at + 0.5:.3f}")[0] == 0
        status, out = hold("list", "cam")
        assert status == 0 and out.startswith("case-1 from 20"), out
        change(less, 3)
        kept = listed()
        assert 1 <= len(kept) < had, (kept, had)
        refused(lambda: client.call("deleteStream", StreamARN=arn),
                "ResourceInUseException", 400)
        bench.kill()
        bench.start()
        client = bench.client()
        assert listed() == kept
        media = client.get_media_for_fragment_list("cam", listed())
        held = media.documents()
        assert len(held) == len(kept)
        assert all(d.cluster in clusters for d in held)
        assert hold("remove", "cam", "case-2")[0] == 1
        status, out = hold("remove", "cam", "case-1")
        assert (status, out) == (0, ""), out
        assert count() == 0

    with bench.case("what went for its retention does not come back"):
        assert stream()["DataRetentionInHours"] == 0
        # What went does not come back.
        change(more, 1)
        assert stream()["DataRetentionInHours"] == 1
        # What was held until now goes within the minute.
        assert set(listed()) <= set(kept)

    with bench.case("one upload per stream, three readers"):
        put = client.put_media("cam", absolute=False, start=time.time())
        put.write(header + clusters[0][:8000])
        refused(lambda: client.put_media("cam"),
                "ConnectionLimitExceededException", 400)
        readers = [client.get_media("cam", StartSelectorType="NOW")
                   for _ in range(3)]
        refused(lambda: client.get_media("cam", StartSelectorType="NOW"),
                "ConnectionLimitExceededException", 400)
        for reader in readers:
            reader.close()

    with bench.case("deleting a stream ends its upload with 4507"):
        client.call("deleteStream", StreamARN=arn)
        assert put.wait_closed()[-1]["ErrorId"] == 4507
        refused(lambda: client.call("describeStream", StreamName="cam"),
                "ResourceNotFoundException", 404)

    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
