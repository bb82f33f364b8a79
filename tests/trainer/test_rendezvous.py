"""Processes that find each other; threads stand in for them, the sockets are real."""

import re
import socket
import threading

import pytest

from lesions.errors import InputError, WorkError
from tests.ports import addresses
from trainer import rendezvous
from trainer.tf_config import Cluster


def meet(hosts, numbers, wait=30.0):
    """What each of some processes says: None where it met the others."""
    said = {}

    def one(number):
        try:
            said[number] = rendezvous.meet(Cluster(tuple(hosts), number), wait)
        except WorkError as error:
            said[number] = str(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_all_are_let_go_when_the_last_has_come():
    assert meet(addresses(3), [2, 1, 0]) == {0: None, 1: None, 2: None}


def test_the_missing_ones_are_named():
    hosts = addresses(4)
    said = meet(hosts, [0, 2], wait=1.0)
    assert said[0].startswith(f"nothing heard from worker 1 ({hosts[1]}), worker 3 ({hosts[3]}) within 1 s")
    assert said[2].startswith(f"nothing heard from worker 0 ({hosts[0]}) within 1 s")


def test_strangers_and_those_who_died_waiting_do_not_count():
    hosts = addresses(2)
    stop = threading.Event()

    def disturb():
        """Says nothing, nonsense, or that it is worker 1 before it leaves a moment later; again and again."""
        place = rendezvous._place(hosts[0])
        for said in [b"", b"GET / HTTP/1.1\r\n\r\n", rendezvous._hello(Cluster(tuple(hosts), 1), 1)] * 100:
            if stop.wait(0.01):
                return
            try:
                with socket.create_connection(place, 0.2) as stranger:
                    stranger.sendall(said)
                    stop.wait(0.02)
            except OSError:
                pass

    stranger = threading.Thread(target=disturb)
    stranger.start()
    assert "nothing heard from worker 1" in meet(hosts, [0], wait=1.5)[0]
    stop.set()
    stranger.join()
    assert meet(hosts, [0, 1]) == {0: None, 1: None}


def test_an_address_that_is_none_and_a_port_that_is_taken():
    with pytest.raises(InputError, match=r"must be host:port, found 'host'"):
        rendezvous.meet(Cluster(("host", "other:1"), 0), 1.0)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=re.escape(f"cannot listen at port {port}")):
            rendezvous.meet(Cluster((f"localhost:{port}", "other:1"), 0), 1.0)
