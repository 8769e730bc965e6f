-- Nothing here: the journal of evaluations is SQLite's alone. The number keeps both engines at one version.
SELECT 1;
