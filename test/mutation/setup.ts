import fc from "fast-check";

/** The same cases in every run, and the first one that fails is enough: a mutant's counterexample need not be small. */
fc.configureGlobal({ seed: 1, endOnFailure: true, numRuns: 40 });
