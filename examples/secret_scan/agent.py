"""The agent: scan a repository, have a model triage what was found, offer the vault, report.

    eval "$(ostiary env)"
    ostiary agent run examples.secret_scan:SecretScan --repo . --output output

SECRET_SCAN_EXCLUDE holds glob patterns to leave out, with colons between them; SECRET_SCAN_VAULT
is `yes`, `ask` or `no`. No value that was found leaves this process, but into the vault.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ostiary.gateway import (
    AgentResult,
    Edit,
    Finding,
    Fix,
    Location,
    RepositoryInput,
    SageSanctumAgent,
    SarifOutput,
)
from ostiary.vault import VaultError

from .scanner import LONGEST_FILE, Hit, scan
from .triage import Triage, triage
from .vaulting import Offer

__all__ = ["SecretScan"]

REMEDIATION = (
    "Take the value out of the source, store it in the vault and read it from there when it is "
    "needed. Whoever could read the repository could read it: have it replaced by a new one."
)
# What gives access by itself, and what is only likely to.
CRITICAL = ("private key", "aws", "github", "gitlab", "stripe", "slack", "azure", "openai")
MEDIUM = ("entropy", "keyword", "ip address")
CONFIDENCE = {"credential": "high", "test data": "low", "placeholder": "low"}


class SecretScan(SageSanctumAgent[RepositoryInput]):
    """Finds hard-coded credentials (CWE-798)."""

    @property
    def name(self) -> str:
        return "secret-scan"

    @property
    def version(self) -> str:
        return "1.0.0"

    async def run(self, input: RepositoryInput) -> AgentResult:
        log = self.context.logger
        output = SarifOutput(self.name, self.version, repository=input)
        result = AgentResult(output)
        # Whatever ends the run early, what was found by then is reported.
        self.checkpoint(result)

        excluded = [one for one in os.environ.get("SECRET_SCAN_EXCLUDE", "").split(":") if one]
        paths = input.list_files(
            exclude=excluded, gitignore=True, max_bytes=LONGEST_FILE, text_only=True
        )
        hits = await asyncio.to_thread(self._scan, input, paths)
        log.info("scanned", files=len(paths), hits=len(hits))
        output.findings = [_finding(hit) for hit in hits]
        result.metadata = {"files": len(paths), "findings": len(hits)}

        opinions: list[Triage | None] = [None] * len(hits)
        if not self.shutdown_requested:
            client = self.context.create_client()
            opinions = await triage(client, hits, lambda: self.shutdown_requested)
            output.findings = [_finding(*pair) for pair in zip(hits, opinions, strict=True)]
            result.metadata["triaged"] = sum(one is not None for one in opinions)
            log.info("triaged", hits=result.metadata["triaged"])

        if not self.shutdown_requested:
            stored = await self._offer(input, hits, opinions)
            output.findings = [
                _finding(hit, opinion, path)
                for hit, opinion, path in zip(hits, opinions, stored, strict=True)
            ]
            result.metadata["stored"] = sum(path is not None for path in stored)
        return result

    def _scan(self, repository: RepositoryInput, paths: list[Path]) -> list[Hit]:
        work = self.context.work_dir
        return list(scan(repository, paths, work, lambda: self.shutdown_requested))

    async def _offer(
        self, repository: RepositoryInput, hits: list[Hit], opinions: list[Triage | None]
    ) -> list[str | None]:
        """Offer the vault what is not taken for a placeholder; return the paths there."""
        stored: list[str | None] = [None] * len(hits)
        offer = Offer.from_environment(repository.path.resolve().name)
        if offer is None:
            return stored
        try:
            for number, (hit, opinion) in enumerate(zip(hits, opinions, strict=True)):
                if self.shutdown_requested:
                    break
                if opinion is None or opinion.verdict != "placeholder":
                    stored[number] = await asyncio.to_thread(offer.store, hit)
        except VaultError as error:
            # The report is worth more than the vault's refusal.
            self.context.logger.warning("not_stored", error=str(error))
        finally:
            offer.close()
        return stored


def _finding(hit: Hit, opinion: Triage | None = None, stored: str | None = None) -> Finding:
    """Return the finding for a hit; nothing in it is, or can be turned back into, its value."""
    kind = hit.kind.lower()
    severity = "high"
    if any(word in kind for word in CRITICAL):
        severity = "critical"
    elif any(word in kind for word in MEDIUM):
        severity = "medium"
    place = Location(str(hit.path), hit.line, hit.line, hit.start_column, hit.end_column)
    metadata: dict[str, object] = {}
    if opinion is not None:
        metadata["triage"] = {"verdict": opinion.verdict, "reason": opinion.reason}
    fixes: list[Fix] = []
    if stored is not None:
        metadata["vault"] = stored
        if hit.end_column:
            fixes = [Fix(f"It is in the vault as {stored}.", [Edit(place, f"vault:{stored}")])]
    return Finding(
        id=f"secret/{kind.replace(' ', '-')}",
        title=f"Hard-coded {hit.kind}",
        description=f"A value in this line looks like a credential: {hit.kind}.",
        severity=severity,
        location=place,
        cwe="CWE-321" if "private key" in kind else "CWE-798",
        remediation=REMEDIATION,
        confidence="medium" if opinion is None else CONFIDENCE[opinion.verdict],
        metadata=metadata,
        fixes=fixes,
    )
