"""What happened so far, counted for the screen and the summary."""

from collections import Counter, deque
from dataclasses import dataclass, field

from examples.demo.http import Answer


@dataclass(slots=True)
class Tally:
    """Counts of everything the players did. `news` are the last few happenings, in rich's markup."""

    commands: int = 0
    queries: int = 0
    stale: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    news: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    last_order: str | None = None
    last_customer: str | None = None

    def count(self, answer: Answer, news: str = "") -> None:
        """Count a command by its answer. A domain's no is a no; anything from 500 on is a failure."""
        if answer.is_success:
            self.commands += 1
            if news:
                self.news.append(news)
            return
        problem = answer.body if isinstance(answer.body, dict) else {}
        title = str(problem.get("title", answer.status))
        (self.failures if answer.status >= 500 else self.refused)[title] += 1
        if news:
            self.news.append(f"[red]no[/]  {problem.get('detail', title)}")

    def count_read(self, answer: Answer) -> None:
        """Count a query by its answer; one that could not show what was asked for in time is stale."""
        self.queries += 1
        self.stale += answer.headers.get("diptych-stale") == "true"
        if answer.status >= 500:
            self.failures[str(answer.status)] += 1
