mod choice;
mod moves;
mod mutants;
mod rebalance;
mod simulation;
mod wire;
mod world;
