import fc from "fast-check";

/**
 * Property tests draw the same cases in every run, so that a red build is the doing of the change it is about and fails
 * again when it is repeated. HODEI_TEST_SEED=random (or a number) explores others; a failure prints the seed it had.
 */
const wished = process.env["HODEI_TEST_SEED"];
if (wished !== "random") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(wished ?? 1) });
