# SPDX-License-Identifier: Apache-2.0
"""Starts the service on a disk that lost its power, and asks it for what was promised."""

import os

from cut_record import OPTIONS, START_S, send_one, start, tool
from kill_cycles import Reader
from kvs_client import ApiError
from kvsd_server import KVSD, expect, run_tool


class Judge:
    """Starts the service on a disk that lost its power."""

    def __init__(self, recording, kind, folder):
        self.recording = recording
        self.kind = kind
        self.mount = f"{folder}/cut"
        self.copy = f"{folder}/cut.img"
        self.log = f"{folder}/cut.log"
        os.makedirs(self.mount)

    def check(self, claims, rng):
        loop = tool("losetup", "--find", "--show", self.copy)
        service = None
        try:
            tool("mount", "-t", self.kind, "-o", OPTIONS[self.kind], loop, self.mount)
            data = f"{self.mount}/kvs"
            self.check_disk(data)
            remade = claims.ready and rng.random() < 0.3
            if remade:
                expect(self.fsck(data, "--repair")[0] in (0, 1), True, "fsck --repair first")
            service = self.start()
            client = service.client()
            self.check_streams(client, claims)
            self.check_media(client, claims, [p for p in self.recording.producers
                                              if p.stream in claims.created], remade)
            self.check_upload(client, rng)
            service.kill()
            service = None
            expect(self.fsck(data, "--level", "media"), (0, ""), "fsck")
        finally:
            if service:
                service.kill()
            if os.path.ismount(self.mount):
                tool("umount", self.mount)
            tool("losetup", "-d", loop)

    def start(self):
        return start(self.mount, self.log)

    def check_disk(self, data):
        """Before anything looks at it."""

    def check_media(self, client, claims, producers, remade):
        """remade: the index was made again from the segments."""
        for p in producers:
            Reader(client, p).check(claims.persisted.get(p.stream, {}), None)

    @staticmethod
    def fsck(data, *options):
        status, out, err = run_tool([KVSD, "fsck", data, *options], timeout=START_S)
        return status, "" if status == 0 else f"{out}{err}"

    @staticmethod
    def check_streams(client, claims):
        there = {s["StreamName"] for s in client.call("listStreams", MaxResults=1000)
                 ["StreamInfoList"]}
        lost = claims.created - claims.deleting - there
        assert not lost, f"streams that were created are gone: {lost}"
        back = claims.deleted & there
        assert not back, f"streams that were deleted are there: {back}"
        for name in claims.deleted:
            try:
                client.call("listFragments", StreamName=name, MaxResults=1)
            except ApiError as error:
                expect(error.type, "ResourceNotFoundException", name)
            else:
                raise AssertionError(f"{name} is deleted, but listed")

    @staticmethod
    def check_upload(client, rng):
        client.call("createStream", StreamName="after", DataRetentionInHours=1)
        number, cluster = send_one(client, "after", rng)
        media = client.get_media_for_fragment_list("after", [number])
        docs = media.documents()
        media.close()
        expect([(d.number, d.cluster) for d in docs], [(number, cluster)], "uploaded after")
