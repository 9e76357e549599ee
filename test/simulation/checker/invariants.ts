import { acknowledged } from "./acknowledged.ts";
import { nothingLeft } from "./at-rest.ts";
import { attemptsCount, fencedBeforeNext, freshTokens } from "./attempts.ts";
import { childrenOnce, endsAgree, messagesArrive } from "./children.ts";
import { adoption, openGate, repeatedAnswers, rightWorker } from "./claims.ts";
import { clientsSeeHistory, runNumbers } from "./client-view.ts";
import { eventsAndEffects } from "./effects.ts";
import { oneEnd } from "./endings.ts";
import type { Invariant } from "./invariant.ts";
import { everythingEnds } from "./liveness.ts";
import { logsMarked } from "./logs.ts";
import { firstOutcomeWins, outcomesAreFolded } from "./outcomes.ts";
import { freshFences, livingSessions, oneOwner } from "./ownership.ts";
import { pinned, promoted } from "./pinning.ts";
import { historyIsTheState } from "./replay.ts";
import { ownResults } from "./results.ts";
import { eachCommitOnce } from "./revisions.ts";
import { atMostOnce, oneRunPerAttempt, stableKeys } from "./runs.ts";
import { timersOnTime } from "./timers.ts";

/** Everything that is looked for. What breaks first in most defects stands first: a story begins with it. */
export const INVARIANTS: readonly Invariant[] = [
  acknowledged,
  eachCommitOnce,
  historyIsTheState,
  eventsAndEffects,
  oneOwner,
  freshFences,
  livingSessions,
  oneEnd,
  attemptsCount,
  fencedBeforeNext,
  freshTokens,
  firstOutcomeWins,
  outcomesAreFolded,
  rightWorker,
  openGate,
  repeatedAnswers,
  adoption,
  oneRunPerAttempt,
  atMostOnce,
  stableKeys,
  childrenOnce,
  messagesArrive,
  endsAgree,
  timersOnTime,
  pinned,
  promoted,
  clientsSeeHistory,
  runNumbers,
  ownResults,
  logsMarked,
  nothingLeft,
  everythingEnds,
];
