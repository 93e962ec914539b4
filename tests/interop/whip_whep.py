"""aiortc against a real server: WHIP in, WHEP out, trickle and restart answers, DELETE, and what was recorded.

Prints one line per check and a closing line that begins with "interop:". Exit code 1 when one failed.
"""

import asyncio
import fractions
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import AudioFrame, VideoFrame

WITHIN = 20
ROOM = "interop"
checks = []


class Bars(VideoStreamTrack):
    """Grey frames that get brighter, so that a viewer can tell one from the next."""

    count = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        self.count += 1
        picture = numpy.full((240, 320, 3), 40 + (self.count * 4) % 200, dtype=numpy.uint8)
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    """440 Hz."""

    at = 0
    began = None

    async def recv(self):
        rate, samples = 48000, 960
        self.began = self.began or time.time()
        await asyncio.sleep(max(0, self.began + self.at / rate - time.time()))
        wave = numpy.sin(2 * numpy.pi * 440 * (self.at + numpy.arange(samples)) / rate)
        frame = AudioFrame.from_ndarray((wave * 8000).astype(numpy.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, self.at, fractions.Fraction(1, rate)
        self.at += samples
        return frame


def check(name, ok, detail=""):
    checks.append(ok)
    print(f"  {'ok  ' if ok else 'FAIL'} {name}{': ' + str(detail) if detail else ''}", flush=True)
    return ok


def request(method, url, body=None, headers=None):
    data = body.encode() if isinstance(body, str) else body
    call = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(call, timeout=WITHIN) as answer:
            return answer.status, dict(answer.headers.items()), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers.items()), error.read().decode()


async def ask(*args, **kwargs):
    return await asyncio.to_thread(request, *args, **kwargs)


async def until(probe, within=WITHIN):
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        found = probe()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.05)
    return None


async def exchange(connection, url, name):
    """Offers, posts, takes the answer; gives the session's URL and its headers."""
    await connection.setLocalDescription(await connection.createOffer())
    status, headers, body = await ask("POST", url, connection.localDescription.sdp, {"Content-Type": "application/sdp"})
    headers = {key.lower(): value for key, value in headers.items()}
    check(f"{name}: 201", status == 201, status if status == 201 else f"{status} {body[:200]}")
    check(f"{name}: Location and ETag", "location" in headers and "etag" in headers, headers.get("location"))
    await connection.setRemoteDescription(RTCSessionDescription(body, "answer"))
    return headers


async def connected(connection, name):
    ok = await until(lambda: connection.connectionState == "connected")
    return check(f"{name}: connected", bool(ok), connection.connectionState)


async def heard_and_seen(connection, seconds=3):
    """Counts frames, brightness changes and the loudness of what arrives."""
    tracks = {receiver.track.kind: receiver.track for receiver in connection.getReceivers()}
    shades, loudest, frames = set(), 0, {"audio": 0, "video": 0}

    async def watch():
        while True:
            frame = await tracks["video"].recv()
            frames["video"] += 1
            shades.add(int(frame.to_ndarray(format="gray").mean()))

    async def listen():
        nonlocal loudest
        while True:
            frame = await tracks["audio"].recv()
            frames["audio"] += 1
            loudest = max(loudest, int(numpy.abs(frame.to_ndarray()).max()))

    jobs = [asyncio.ensure_future(watch()), asyncio.ensure_future(listen())]
    await until(lambda: frames["video"] > 20 * seconds and frames["audio"] > 40 * seconds and loudest > 1000)
    for job in jobs:
        job.cancel()
    return frames, len(shades), loudest


async def run(url):
    status, headers, _ = await ask("OPTIONS", f"{url}/whip/{ROOM}/cam", headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"})
    check("WHIP: OPTIONS allows other origins", status in (200, 204) and {k.lower(): v for k, v in headers.items()}.get("access-control-allow-origin") == "*", status)
    status, _, body = await ask("POST", f"{url}/whip/{ROOM}/cam", "v=0\r\nnonsense", {"Content-Type": "application/sdp"})
    check("WHIP: a broken offer is refused with a code", 400 <= status < 500 and "code" in json.loads(body), f"{status} {json.loads(body).get('code')}")
    status, headers, body = await ask("POST", f"{url}/whep/{ROOM}", "v=0\r\n", {"Content-Type": "application/sdp"})
    check("WHEP: nobody publishes yet", 400 <= status < 500, f"{status} {json.loads(body).get('code')}")

    publisher = RTCPeerConnection()
    publisher.addTrack(Bars())
    publisher.addTrack(Tone())
    session = await exchange(publisher, f"{url}/whip/{ROOM}/cam", "WHIP")
    await connected(publisher, "WHIP")
    listed = await until(lambda: listed_room(url))
    check("WHIP: a participant like any other", bool(listed) and listed["participants"][0]["name"] == "cam", listed and listed["participants"])
    status, _, body = await ask("POST", f"{url}/whip/{ROOM}/cam", publisher.localDescription.sdp, {"Content-Type": "application/sdp"})
    check("WHIP: a second one of that name is refused", status == 409, f"{status} {json.loads(body).get('code')}")

    viewer = RTCPeerConnection()
    viewer.addTransceiver("video", direction="recvonly")
    viewer.addTransceiver("audio", direction="recvonly")
    watching = await exchange(viewer, f"{url}/whep/{ROOM}/cam", "WHEP")
    if await connected(viewer, "WHEP"):
        frames, shades, loudest = await heard_and_seen(viewer)
        check("WHEP: the picture moves", frames["video"] > 20 and shades > 5, f"{frames['video']} frames, {shades} shades")
        check("WHEP: the tone is heard", loudest > 1000, f"peak {loudest}")

    recording = await until(lambda: (listed_room(url) or {}).get("recording", {}).get("duration_ms", 0) > 4000 and listed_room(url)["recording"])
    check("recorded while it is forwarded", bool(recording), recording and recording["duration_ms"])

    status, _, _ = await ask("PATCH", url + session["location"], "a=end-of-candidates\r\n", {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": session["etag"]})
    check("WHIP: PATCH is answered", status in (200, 204, 400, 422), status)
    status, _, _ = await ask("DELETE", url + watching["location"])
    check("WHEP: DELETE ends it", status in (200, 204), status)
    status, _, _ = await ask("DELETE", url + session["location"])
    check("WHIP: DELETE ends it", status in (200, 204), status)
    status, _, _ = await ask("DELETE", url + session["location"])
    check("WHIP: and it is gone", status == 404, status)
    await viewer.close()
    await publisher.close()
    return recording and recording["id"]


def listed_room(url):
    _, _, body = request("GET", f"{url}/api/rooms")
    rooms = json.loads(body)["rooms"]
    return next((room for room in rooms if room["room"] == ROOM and room["participants"]), None)


def judge(folder):
    """The file as an independent reader finds it."""
    files = sorted(Path(folder).glob("*.webm"))
    check("one file, closed", len(files) == 1, [file.name for file in files])
    for file in files:
        probe = subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", file], capture_output=True, text=True, timeout=60)
        streams = {one["codec_name"] for one in json.loads(probe.stdout)["streams"]}
        check("ffprobe: VP8 and Opus, no complaint", streams == {"vp8", "opus"} and probe.stderr == "", f"{sorted(streams)} {probe.stderr}")
        decode = subprocess.run(["ffmpeg", "-v", "error", "-xerror", "-i", file, "-f", "null", "-"], capture_output=True, text=True, timeout=120)
        check("ffmpeg decodes all of it in silence", decode.returncode == 0 and decode.stderr == "", decode.stderr[:300])


def main():
    with tempfile.TemporaryDirectory(prefix="reelay-interop-") as place:
        ready = Path(place) / "ready.json"
        folder = Path(place) / "recordings"
        log = open(Path(place) / "log", "w+")
        server = subprocess.Popen(
            [sys.argv[1], "serve", "--listen", "127.0.0.1:0", "--udp-port", "0", "--recordings", folder, "--ready-file", ready],
            stdout=log, stderr=subprocess.STDOUT,
        )
        try:
            ends = time.monotonic() + WITHIN
            while not ready.exists() and server.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
            recording = asyncio.run(asyncio.wait_for(run(json.loads(ready.read_text())["url"]), 120))
            server.send_signal(signal.SIGTERM)
            check("the server stops in order", server.wait(WITHIN) == 0, server.returncode)
            if recording:
                judge(folder / recording)
        except Exception as error:  # noqa: BLE001 - whatever it was, the log and the closing line must be seen
            check("no surprise", False, repr(error))
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
            if not all(checks):
                log.seek(0)
                print(log.read()[-4000:])
    failed = checks.count(False)
    print(f"interop: {len(checks) - failed} of {len(checks)} checks passed")
    sys.exit(1 if failed else 0)


main()
