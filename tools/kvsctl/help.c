/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/help.h"

#include <stddef.h>
#include <string.h>

#include "base/macros.h"

static const char general[] =
"usage: kvsctl [OPTION]... COMMAND [ARGUMENT]...\n"
"\n"
"Creates video streams, uploads media and reads it back: from Amazon Kinesis\n"
"Video Streams, or from your own service (kvsd serve).\n"
"\n"
"Streams:\n"
"  streams                    list the streams of the account\n"
"  create-stream STREAM       make one, with the time it keeps its media\n"
"  describe-stream STREAM     show what the service knows about one\n"
"  delete-stream STREAM       delete one and all its media\n"
"\n"
"Media:\n"
"  put STREAM FILE|-          upload a Matroska file or pipe\n"
"  get STREAM                 read media, live or from the past\n"
"  fragments STREAM           list the stored fragments\n"
"  clip STREAM -o FILE.mp4    save a range as MP4\n"
"  export STREAM -o FILE.tar  save a stream with everything in it\n"
"\n"
"This machine:\n"
"  devices                    list cameras and encoders\n"
"  doctor [DEVICE]            try them; say what is missing and how to get it\n"
"  sync [DEVICE]...           how well each sensor's clock is known\n"
"  feed KIND:PATH...          give tsalign clocks that it cannot hear itself\n"
"  help [COMMAND|TOPIC]       explain; topics: credentials, times, exit-codes\n"
"\n"
"Options, before or after the command:\n"
"      --endpoint-url URL     the service, https://HOST[:PORT]\n"
"      --ca-bundle FILE       trust this CA (PEM) instead of the system's\n"
"      --profile NAME         profile of the credentials file\n"
"      --region NAME          region to sign for\n"
"      --timeout DURATION     give up after so long without a byte (30s)\n"
"      --json                 print JSON instead of text\n"
"  -h, --help                 explain the command\n"
"\n"
"A first session with a service of your own:\n"
"  $ kvsd serve --quickstart /var/lib/kvsd &\n"
"  $ export AWS_ENDPOINT_URL=https://127.0.0.1:8443\n"
"  $ export AWS_CA_BUNDLE=/var/lib/kvsd/ca.pem\n"
"  $ export AWS_SHARED_CREDENTIALS_FILE=/var/lib/kvsd/credentials\n"
"  $ kvsctl create-stream front --retention 24h\n"
"  $ kvsctl put front holiday.mkv\n"
"  $ kvsctl clip front -o holiday.mp4\n";

static const char credentials[] =
"kvsctl reads the same variables and files as AWS's own tools. The first that\n"
"is set counts:\n"
"\n"
"  service   --endpoint-url, AWS_ENDPOINT_URL_KINESIS_VIDEO, AWS_ENDPOINT_URL,\n"
"            endpoint_url of the profile, Amazon's of the region\n"
"  region    --region, AWS_REGION, AWS_DEFAULT_REGION, region of the profile,\n"
"            us-west-2\n"
"  CA        --ca-bundle, AWS_CA_BUNDLE, ca_bundle of the profile, the system's\n"
"  keys      AWS_ACCESS_KEY_ID + AWS_SECRET_ACCESS_KEY (+ AWS_SESSION_TOKEN),\n"
"            then the profile. --profile NAME goes before the variables.\n"
"  profile   --profile, AWS_PROFILE, \"default\"\n"
"\n"
"Profiles are read from AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) and\n"
"AWS_CONFIG_FILE (~/.aws/config). A credentials file looks like this:\n"
"\n"
"  [default]\n"
"  aws_access_key_id = AKIA...\n"
"  aws_secret_access_key = ...\n"
"  aws_session_token = ...          only with temporary keys\n"
"\n"
"Keys and tokens are never printed.\n";

static const char times[] =
"A TIME is one of\n"
"  2023-05-17T13:48:35.994Z     ISO 8601 with a zone (Z or +02:00)\n"
"  1684331315.994               seconds since 1970\n"
"  -90s  -5min  -2h             before now (us, ms, s, min, h)\n"
"  now\n"
"\n"
"Each fragment has two times. Its producer time is when the camera took the\n"
"first frame, its server time when the first byte reached the service.\n";

static const char exit_codes[] =
"  0  done\n"
"  1  the service refused, or did not take all of the media\n"
"  2  the command line is wrong\n"
"  3  no such stream, or nothing in that range\n"
"  4  credentials are missing, unknown, or not allowed to do that\n"
"  5  the network: connection, TLS, a reply that is none\n"
"  6  out of time\n"
"  7  a local file: missing, unreadable, in the wrong format\n"
"  8  doctor: something that is needed is missing\n";

static const char streams[] =
"usage: kvsctl streams [--prefix TEXT] [--json]\n"
"\n"
"Lists the streams of the account, with state, retention, media type and time\n"
"of creation.\n"
"\n"
"      --prefix TEXT   only names that begin with it\n"
"\n"
"With --json: {\"StreamInfoList\": [...]}, as the service's ListStreams.\n";

static const char create_stream[] =
"usage: kvsctl create-stream STREAM [OPTION]...\n"
"\n"
"Makes a stream, waits until it can be used and prints its ARN. A name is 1 to\n"
"256 letters, digits, '_', '.' and '-'.\n"
"\n"
"      --retention TIME     keep media for so long: 24h, 7d. The default 0\n"
"                           keeps none: the stream is for live readers only\n"
"      --media-type TYPE    \"video/h264\", \"video/h264,audio/aac\"\n"
"      --device-name NAME   the device that will write to it\n"
"      --kms-key-id KEY     the key that seals the media (default: the\n"
"                           service's own)\n"
"      --tag KEY=VALUE      may be repeated, 50 times at most\n"
"      --if-not-exists      an existing stream is fine, as it is\n"
"\n"
"With --json: {\"StreamARN\": \"...\"}.\n"
"\n"
"  $ kvsctl create-stream front --retention 24h --tag place=door\n";

static const char describe_stream[] =
"usage: kvsctl describe-stream STREAM [--playback] [--json]\n"
"\n"
"Shows a stream's ARN, state, retention, key and version. With --json: the\n"
"service's StreamInfo.\n"
"\n"
"      --playback             read the header of the newest stored fragment\n"
"                             and say of each track whether players can\n"
"                             decode it, and why not: a codec that clips do\n"
"                             not take, a codec private that is missing,\n"
"                             Annex B or invalid. With --json: \"Playback\"\n";

static const char delete_stream[] =
"usage: kvsctl delete-stream STREAM [--if-version VERSION] [--json]\n"
"\n"
"Deletes a stream. Its media cannot be read from then on and is not coming\n"
"back: the key that seals it goes too. Nobody is asked for confirmation.\n"
"\n"
"      --if-version VERSION   only if that is still its version\n"
"                             (kvsctl describe-stream shows it)\n";

static const char put[] =
"usage: kvsctl put STREAM FILE|- [OPTION]...\n"
"\n"
"Uploads a Matroska (.mkv, .webm) file, or what comes through a pipe ('-'), and\n"
"ends when the service has acknowledged every fragment. Nothing is re-encoded.\n"
"A broken connection is opened again and goes on where it stopped.\n"
"\n"
"      --create              make the stream if there is none\n"
"      --retention TIME      with --create: keep media for so long (24h)\n"
"      --timestamps WHEN     producer times of the frames:\n"
"                              now    the first frame is now\n"
"                              file   the file's own times are dates, as\n"
"                                     `kvsctl get` writes them\n"
"                              TIME   the first frame's (kvsctl help times)\n"
"                            default: file if its times are dates, else now\n"
"      --realtime            no faster than the media plays\n"
"      --fragment DURATION   length of a fragment, 1s to 10s (2s); fragments\n"
"                            start at key frames\n"
"\n"
"A fragment starts at a key frame, so key frames should be at most 10 s apart:\n"
"  $ ffmpeg -i in.mp4 -c:v libx264 -g 60 -c:a aac -f matroska - |\n"
"      kvsctl put front -\n"
"\n"
"With --json: {\"Frames\", \"Fragments\", \"Bytes\", \"Persisted\", \"Received\",\n"
"\"Errors\", \"Unacknowledged\"}. On a terminal a progress bar is drawn.\n";

static const char get[] =
"usage: kvsctl get STREAM [OPTION]...\n"
"\n"
"Reads media with GetMedia and writes Matroska to stdout or a file. Without an\n"
"end it goes on for ever, waiting for what the camera sends next.\n"
"\n"
"      --start WHERE         NOW (the default): from the newest fragment on\n"
"                            EARLIEST: from the oldest that is kept\n"
"                            producer:TIME, server:TIME: from then on\n"
"                            fragment:NUMBER: from the one after it\n"
"                            token:TOKEN: go on after an earlier reading\n"
"  -o, --output FILE         write there instead of stdout ('-')\n"
"      --count N             end after N fragments\n"
"      --duration DURATION   end when so much media was read (10s, 5min)\n"
"      --no-follow           end with the newest fragment\n"
"      --raw                 the service's reply byte for byte: one Matroska\n"
"                            document per fragment, which few players read.\n"
"                            Without it fragments are joined into one\n"
"\n"
"With --json it says at the end what was read, on stderr when the media goes to\n"
"stdout: {\"Fragments\", \"Bytes\", \"ContinuationToken\"}.\n"
"\n"
"  $ kvsctl get front --start NOW | ffplay -\n"
"  $ kvsctl get front --start EARLIEST --no-follow -o front.mkv\n"
"  $ kvsctl get front --start producer:-5min --duration 1min -o minute.mkv\n";

static const char fragments[] =
"usage: kvsctl fragments STREAM [OPTION]...\n"
"\n"
"Lists the fragments that are stored, oldest first: number, times, length and\n"
"size.\n"
"\n"
"      --from TIME           only fragments that start then or later\n"
"      --to TIME             only fragments that start then or earlier\n"
"      --by CLOCK            the clock of the range and the order: producer\n"
"                            (the default) or server\n"
"\n"
"With --json: {\"Fragments\": [...]}, as the service's ListFragments.\n";

static const char clip[] =
"usage: kvsctl clip STREAM -o FILE.mp4 [OPTION]...\n"
"\n"
"Saves a range as one MP4 file (GetClip). Without a range it takes all that the\n"
"stream holds, from the oldest fragment on, as far as the service's limits\n"
"allow: 200 fragments, 100 MB, 24 hours.\n"
"\n"
"  -o, --output FILE         the file; '-' is stdout. It appears when it is\n"
"                            complete\n"
"      --from TIME           from the first fragment that starts then or later\n"
"      --to TIME             to the last one that starts then or earlier\n"
"      --by CLOCK            producer (the default) or server\n"
"\n"
"MP4 takes H.264 or H.265, with AAC or G.711 A-law sound, if there is any.\n";

static const char export_page[] =
"usage: kvsctl export STREAM -o FILE.tar [OPTION]...\n"
"\n"
"Saves a stream with everything in it: its description and tags, and every stored\n"
"fragment with number, both times, media, metadata and codec data, as the service\n"
"gives it. From Amazon too. `kvsd import DIR FILE.tar` puts it into the directory\n"
"of another service, with the same numbers and times.\n"
"\n"
"  -o, --output FILE         the file; '-' is stdout. It appears when it is\n"
"                            complete\n"
"      --from TIME           only fragments that reached the service then or\n"
"                            later: for one archive per day, say\n"
"      --to TIME             ... or earlier; without it: until now\n"
"      --holds FILE          the stream's legal holds, as `kvsd hold list --json`\n"
"                            says them: no call of the service does. An import\n"
"                            sets them again; without this it sets none\n"
"\n"
"The archive is a plain tar: stream.json (StreamInfo, Tags, Holds), fragments/NUMBER.mkv\n"
"(each plays by itself), manifest.jsonl: a line per fragment with what\n"
"ListFragments says of it, Bytes and SHA256 of its file, and a last line with the\n"
"sums. With --json: {\"Fragments\", \"Bytes\", \"Expired\"}, Expired being those\n"
"that went while it ran.\n"
"\n"
"  $ kvsctl export front -o front.tar\n"
"  $ kvsd import /srv/other front.tar      (while that service is stopped)\n";

static const char doctor[] =
"usage: kvsctl doctor [DEVICE] [--seconds N] [--record FILE.tar] [--json]\n"
"\n"
"Tries what this machine has for capture and says what is missing: nodes and who\n"
"may open them, cameras, encoders, sound cards and industrial I/O devices with\n"
"their formats, media links, the rate and stamps of each that gives frames, each\n"
"encoder's copies, what the kernel has, and what to write into agent.conf. Every\n"
"value is declared (a driver or the kernel says so), measured (it was tried just\n"
"now) or not known.\n"
"\n"
"  DEVICE                    only this camera: a node, a link of udev, a card, a\n"
"                            bus, or a media entity (\"imx219 10-0010\"); or a sound\n"
"                            card's PCM (\"hw:0,0\"), an IIO device or its name\n"
"      --seconds N           stream so long from each (2)\n"
"      --record FILE.tar     keep all that, the kernel's log and configuration\n"
"                            and what /proc says of the machine in an archive\n"
"\n"
"Each camera streams in the format that it is set to, or that the encoder takes,\n"
"and is put back. A camera in use is not disturbed: it is reported as busy. The\n"
"stamp is judged by its age when the frame is dequeued: \"agrees\" means that\n"
"nothing measured speaks against what the driver declares.\n"
"\n"
"What it suggests for agent.conf is a section for each camera, by a name that\n"
"stays when it gets another number; where two of one model have no serial\n"
"numbers, by where they are plugged in. A camera set to 16-bit counts is a\n"
"thermal core there, and the counts that it sees are printed.\n"
"\n"
"Exit code 8: no camera streams, no encoder takes its frames, or the kernel lacks\n"
"what kvsd agent needs.\n";

static const char sync_page[] =
"usage: kvsctl sync [DEVICE]... [--seconds N] [--plot FILE.svg] [--json]\n"
"\n"
"Shows how each sensor's clock lies on the timeline of all of them. Without a\n"
"DEVICE: every stream that the kernel module tsalign knows, whoever captures.\n"
"With some: frames are captured from them, and aligned by the module if it knows\n"
"the device, else by the same estimator in user space, whose sigma is larger.\n"
"\n"
"  DEVICE                    a V4L2 node, hw:CARD,DEVICE or alsa:NAME, iio:NAME,\n"
"                            tty:, spi:, udp:, pipe: (records), libcamera:ID,\n"
"                            synthetic:bars, thermal, radar or tone\n"
"      --seconds N           end after N seconds; else 5, on a terminal ^C\n"
"      --plot FILE.svg       draw offset, jitter and drift over time\n"
"\n"
"  BY       kernel, estimate (in user space), stamp (too few frames yet)\n"
"  STATE    waiting, coarse, locked, holdover (nothing came lately), gone\n"
"  OFFSET   of the raw stamp to the aligned time: least, mean, greatest\n"
"  JITTER   mean delay above the earliest arrivals\n"
"  DRIFT    of the sensor's clock to its nominal rate; fast is positive\n"
"  SIGMA    99 % of aligned times are nearer than this to the truth, save for a\n"
"           constant delay of which nobody told\n"
"  EPOCH    rises with what cannot be a smooth change; the counts begin anew\n"
"\n"
"With --json: {\"from\", \"tsalign\": {\"present\", ...}, \"seconds\", \"sensors\":\n"
"[{\"name\", \"by\", \"state\", \"frames\", \"offset_ns\": {\"min\", \"mean\", \"max\"},\n"
"\"jitter_ns\", \"drift_ppb\", \"sigma_ns\", \"epoch\", \"lost\", \"outliers\", ...}]}.\n"
"Exit code 8: no DEVICE was named and the module is not there.\n";

static const char feed_page[] =
"usage: kvsctl feed KIND:PATH[=NAME]... [--seconds N] [--json]\n"
"\n"
"Reads clocks that no driver tells the kernel module tsalign of, and gives it what\n"
"they say, until interrupted. Each is a stream of NAME (else the path's last part)\n"
"meanwhile: see kvsctl sync. A PTP clock may be what all others refer to.\n"
"\n"
"  ptp:/dev/ptp0             a network card's clock, beside CLOCK_REALTIME, four\n"
"                            times a second, by the best way that its driver has\n"
"  pps:/dev/pps0             seconds, at the edges of a pulse per second\n"
"  fsync:/dev/v4l-subdev0    frame numbers, at the V4L2 frame-sync events of a CSI\n"
"                            receiver\n"
"      --seconds N           end after N seconds\n"
"\n"
"With --json, at the end: {\"feeds\": [{\"kind\", \"path\", \"name\", \"pairs\",\n"
"\"stale\", \"missed\", \"width_ns\"}]}: pairs that the module took, those that came\n"
"from before the system's clock was set, events that were lost, and how wide the\n"
"last reading was. Exit code 8: the module is not there, or may not be written to\n"
"(root and the group kvsd may); 7: a device is not there, or goes.\n";

static const char devices[] =
"usage: kvsctl devices [--json]\n"
"\n"
"Lists this machine's video devices: cameras (capture), hardware encoders,\n"
"decoders and converters, with the formats and sizes of each. Nothing is sent\n"
"anywhere.\n"
"\n"
"With --json: {\"devices\": [{\"path\", \"kind\", \"driver\", \"card\", \"bus\",\n"
"\"formats\": [{\"fourcc\", \"description\", \"compressed\", \"sizes\": [...]}],\n"
"\"inputs\": [...]}]}.\n";

static const char help[] =
"usage: kvsctl help [COMMAND|TOPIC]\n"
"\n"
"Topics: credentials, times, exit-codes.\n";

const char *help_page(const char *topic)
{
	static const struct {
		const char *topic;
		const char *page;
	} pages[] = {
		{ "credentials", credentials },
		{ "times", times },
		{ "exit-codes", exit_codes },
		{ "streams", streams },
		{ "create-stream", create_stream },
		{ "describe-stream", describe_stream },
		{ "delete-stream", delete_stream },
		{ "put", put },
		{ "get", get },
		{ "fragments", fragments },
		{ "clip", clip },
		{ "export", export_page },
		{ "devices", devices },
		{ "doctor", doctor },
		{ "sync", sync_page },
		{ "feed", feed_page },
		{ "help", help },
	};
	size_t i;

	if (!topic)
		return general;
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		if (strcmp(pages[i].topic, topic) == 0)
			return pages[i].page;
	}
	return NULL;
}
