"""A few confined processes for decoding: started when needed, ended when they take too long, replaced when they die."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

import msgspec

from adapters.dicom.pictures.confined import Done, Job
from adapters.dicom.pictures.options import Unrenderable

_MOST_ANSWER = 1 << 30
_IDLE_SECONDS = 60.0


class Pool:
    """``processes`` at most, of ``memory`` bytes of addresses each; a job may take ``seconds``."""

    def __init__(self, processes: int = 2, memory: int = 2 << 30, seconds: float = 20.0) -> None:
        self._memory = memory
        self._seconds = seconds
        self._free = asyncio.Semaphore(processes)
        self._idle: list[tuple[Process, asyncio.TimerHandle]] = []
        self._running: set[Process] = set()

    async def do(self, job: Job) -> Done:
        """Let a job be done. Raise :class:`Unrenderable` if it cannot be."""
        async with self._free:
            process = await self._process()
            try:
                async with asyncio.timeout(self._seconds):
                    done = await _exchange(process, msgspec.msgpack.encode(job))
            except TimeoutError:
                await self._end(process)
                raise Unrenderable(f"The frame was not decoded within {self._seconds:g} s.") from None
            except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
                await self._end(process)
                raise Unrenderable("The frame cannot be decoded.") from None
            except BaseException:  # cancelled: an answer that nobody waits for would be taken for another's
                await self._end(process)
                raise
            self._rest(process)
        if done.problem:
            raise Unrenderable(done.problem)
        return done

    async def close(self) -> None:
        """End all processes."""
        for _, timer in self._idle:
            timer.cancel()
        self._idle.clear()
        for process in tuple(self._running):
            await self._end(process)

    async def _process(self) -> Process:
        while self._idle:
            process, timer = self._idle.pop()
            timer.cancel()
            if process.returncode is None:
                return process
            self._running.discard(process)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "adapters.dicom.pictures.confined", str(self._memory),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=1 << 20, start_new_session=True,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self._running.add(process)
        return process

    def _rest(self, process: Process) -> None:
        timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._retire, process)
        self._idle.append((process, timer))

    def _retire(self, process: Process) -> None:
        self._idle = [(other, timer) for other, timer in self._idle if other is not process]
        self._running.discard(process)
        assert process.stdin is not None
        process.stdin.close()  # it ends by itself

    async def _end(self, process: Process) -> None:
        self._running.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def _exchange(process: Process, job: bytes) -> Done:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(len(job).to_bytes(4, "big"))
    process.stdin.write(job)
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    if length > _MOST_ANSWER:
        raise OSError("the answer is too large")
    return msgspec.msgpack.decode(await process.stdout.readexactly(length), type=Done)
