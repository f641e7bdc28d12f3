"""Papers: what the control plane's authority issues, and what an agent believes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity import (
    KEY,
    NEW_KEY,
    Identity,
    IdentityError,
    check_certificate,
    command_keys,
    load_key,
    make_csr,
    make_key,
)
from shared.messaging.agent_api import Certificate, EnrolAnswer
from shared.nodes.authority import ISSUER_OVERLAP, Authority
from shared.nodes.errors import BadCsr
from shared.platform.secrets import FolderSecrets, Secrets


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def authority(tmp_path: Path, clock: SetClock) -> Authority:
    return Authority(Secrets(FolderSecrets(tmp_path / "secrets"), clock), clock, "meridian.test")


async def enrolled(authority: Authority, folder: Path) -> EnrolAnswer:
    key = make_key(folder / KEY)
    answer = EnrolAnswer(
        "nod_1",
        "org_1",
        "attic",
        "meridian.test",
        await a_certificate(authority, make_csr(key, "attic")),
        await authority.root_pem(),
        datetime.now(UTC),
    )
    Identity.save_enrolment(folder, "https://console.example", answer, folder / KEY)
    return answer


async def a_certificate(authority: Authority, csr: str) -> Certificate:
    issued = await authority.issue(csr, "org_1", "nod_1")
    return Certificate(issued.chain_pem, issued.thumbprint, issued.not_before, issued.not_after, issued.renew_after)


async def test_the_certificate_is_for_our_key_and_chains_up_to_the_root(authority: Authority, tmp_path: Path) -> None:
    answer = await enrolled(authority, tmp_path)
    check_certificate(load_key(tmp_path / KEY), answer.certificate, answer.root_pem)
    assert Identity(tmp_path).papers.node_id == "nod_1"
    with pytest.raises(IdentityError, match="not for this node's key"):
        check_certificate(ec.generate_private_key(ec.SECP256R1()), answer.certificate, answer.root_pem)


async def test_another_authoritys_certificate_is_not_believed(
    authority: Authority, tmp_path: Path, clock: SetClock
) -> None:
    answer = await enrolled(authority, tmp_path)
    foreign = Authority(Secrets(FolderSecrets(tmp_path / "other"), clock), clock, "meridian.test")
    with pytest.raises(IdentityError, match="does not chain up"):
        check_certificate(load_key(tmp_path / KEY), answer.certificate, await foreign.root_pem())
    papers = Identity(tmp_path).papers
    with pytest.raises(IdentityError, match="no key that may sign"):
        command_keys(await foreign.signer_chains(), papers, clock.now())


async def test_a_nodes_certificate_may_not_sign_commands(authority: Authority, tmp_path: Path, clock: SetClock) -> None:
    answer = await enrolled(authority, tmp_path)
    papers = Identity(tmp_path).papers
    with pytest.raises(IdentityError, match="no key that may sign"):
        command_keys((answer.certificate.chain_pem,), papers, clock.now())
    signer = await authority.signer()
    assert list(command_keys(await authority.signer_chains(), papers, clock.now())) == [signer.key_id]


async def test_the_key_file_is_private_and_a_readable_one_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / KEY)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    (tmp_path / KEY).chmod(0o644)
    with pytest.raises(IdentityError, match="can be read by others"):
        load_key(tmp_path / KEY)


@pytest.mark.parametrize("crash", ["before the papers", "after the papers"])
async def test_a_crash_while_renewing_leaves_papers_that_work(authority: Authority, tmp_path: Path, crash: str) -> None:
    await enrolled(authority, tmp_path)
    identity = Identity(tmp_path)
    new_key = make_key(tmp_path / NEW_KEY)
    renewed = await a_certificate(authority, make_csr(new_key, "attic"))
    if crash == "after the papers":
        identity.renewed(renewed)
        assert not (tmp_path / NEW_KEY).exists()
    again = Identity(tmp_path)
    expected = renewed.thumbprint if crash == "after the papers" else identity.papers.certificate.thumbprint
    assert again.papers.certificate.thumbprint == expected
    check_certificate(again.key, again.papers.certificate, again.papers.root_pem)


async def test_the_issuing_authority_and_the_signer_change_with_overlap(
    authority: Authority, tmp_path: Path, clock: SetClock
) -> None:
    answer = await enrolled(authority, tmp_path)
    papers = Identity(tmp_path).papers
    first = await authority.signer()
    clock.moment += timedelta(days=61)
    assert (await authority.signer()).key_id == first.key_id  # the next one is published a day before it signs
    chains = await authority.signer_chains()
    assert len(chains) == 2
    assert len(command_keys(chains, papers, clock.now())) == 2
    clock.moment += timedelta(days=2)
    assert (await authority.signer()).key_id != first.key_id

    clock.moment += timedelta(days=365) - ISSUER_OVERLAP - timedelta(days=62)
    first_hours = await a_certificate(authority, make_csr(load_key(tmp_path / KEY), "attic"))
    assert first_hours.chain_pem.split("-----END")[1] == answer.certificate.chain_pem.split("-----END")[1], (
        "the new one signs nothing for a day: of two that were made at once one is lost"
    )
    clock.moment += timedelta(hours=25)
    later = await a_certificate(authority, make_csr(load_key(tmp_path / KEY), "attic"))
    assert later.chain_pem.split("-----END")[1] != answer.certificate.chain_pem.split("-----END")[1]
    assert (await authority.root_pem()) == answer.root_pem


@pytest.mark.parametrize(
    "csr", ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", "x" * 5000]
)
async def test_what_is_no_request_gets_no_certificate(authority: Authority, csr: str) -> None:
    with pytest.raises(BadCsr):
        await authority.issue(csr, "org_1", "nod_1")


async def test_a_request_with_another_kind_of_key_is_refused(authority: Authority) -> None:
    with pytest.raises(BadCsr, match="P-256"):
        await authority.issue(make_csr(ec.generate_private_key(ec.SECP384R1()), "x"), "org_1", "nod_1")


async def test_a_request_changed_after_it_was_signed_is_refused(authority: Authority) -> None:
    import base64

    pem = make_csr(ec.generate_private_key(ec.SECP256R1()), "attic").splitlines()
    der = bytearray(base64.b64decode("".join(pem[1:-1])))
    der[der.index(b"attic")] = ord("b")
    changed = "\n".join([pem[0], base64.b64encode(der).decode(), pem[-1]])
    with pytest.raises(BadCsr, match="not signed by its own key"):
        await authority.issue(changed, "org_1", "nod_1")


async def test_damaged_papers_are_told(authority: Authority, tmp_path: Path) -> None:
    await enrolled(authority, tmp_path)
    (tmp_path / "node.json").write_text("{")
    with pytest.raises(IdentityError, match="is damaged"):
        Identity(tmp_path)
    with pytest.raises(IdentityError, match="not enrolled"):
        Identity(tmp_path / "nowhere")
